"""A pass over the packets of a video file: what it holds, and whether that is all that its header promises."""

from array import array
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.container
import numpy as np

from ugcvqa.errors import VideoError
from ugcvqa.media.boxes import second_movie
from ugcvqa.media.clock import NO_STAMP, Ticks, recordings
from ugcvqa.media.damage import DamageLog, Decoder, packets, stamp_of
from ugcvqa.media.marks import DOLBY_TAGS, DOLBY_VISION, frame_facts, mark_of, transfer_name
from ugcvqa.media.opening import Stopwatch, check_limit, only_stream, opened, other_videos
from ugcvqa.settings.data import DecodeLimits

_LARGEST_OGG_PAGE = 65307
# What files begin with whose demuxers stop at the end of the first recording, where several were joined.
_BEGINNINGS = {"flv": b"FLV\x01", "asf": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")}
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Survey:
    """What a pass over the packets of a video shows.

    Attributes:
        container: name of the container format.
        codec: canonical codec name.
        n_packets: packets that are shown: not empty and not cut away by an edit list.
        recordings: their presentation stamps in units of `time_base`, see `clock.recordings`; empty if any is unknown.
        is_doubtful: marks, missing or odd stamps suggest that packets may not be frames, so frames must be counted.
        time_base: seconds per tick.
        headers: frames per second by the header, the most trusted first.
        last_s: how long the last packet is shown, in seconds; 0 if it is not known.
        first_frame: the first decoded frame.
        facts: other fields of `VideoInfo`.
        damage: what the demuxer noticed.
    """

    container: str
    codec: str
    n_packets: int
    recordings: list[Ticks]
    is_doubtful: bool
    time_base: Fraction
    headers: tuple[Fraction | None, ...]
    last_s: float
    first_frame: av.VideoFrame
    facts: dict[str, Any]
    damage: DamageLog


def survey_packets(path: str | Path, limits: DecodeLimits) -> Survey:
    """Reads all packets of the best video stream and decodes the first frame only.

    Args:
        path: a local file.
        limits: sizes above which the file is refused.

    Returns:
        What the packets show.

    Raises:
        VideoError: if the file is not a readable video, ends before its header says, or is over a limit.
    """
    damage = DamageLog()
    with opened(path, limits, lambda said: damage.note(0, said)) as (container, stream):
        scan, watch = _Scan(stream.index, container.format.name, damage), Stopwatch(path, limits.max_decode_s)
        # Some headers state the end of the longest track; all tracks are read there.
        is_whole_read = container.format.name.startswith(("matroska", "flv", "asf"))
        for packet, said in packets(container, None if is_whole_read else only_stream(container, stream)):
            if said:
                scan.damage.note(scan.n_shown, said)
            scan.add(path, packet)
            check_limit(path, "number of frames", scan.n_shown, limits.max_frames)
            watch.check()
        if scan.first_frame is None:
            raise VideoError(f"{path}: holds no video frames that can be decoded")
        time_base = stream.time_base or Fraction(1, 90000)
        headers = (stream.average_rate or stream.guessed_rate, stream.guessed_rate)
        parts = scan.recordings()
        _check_complete(path, container, stream, scan, _longest_step_s(parts, time_base, headers[0]))
        return Survey(
            container=container.format.name,
            codec=stream.codec.canonical_name,
            n_packets=scan.n_shown,
            recordings=parts,
            is_doubtful=scan.has_marks or len(parts) != 1,
            time_base=time_base,
            headers=headers,
            last_s=float(scan.last_ticks * time_base),
            first_frame=scan.first_frame,
            facts=_facts(container, stream, scan.first_frame),
            damage=scan.damage,
        )


def _facts(container: av.container.InputContainer, stream: av.VideoStream, frame: av.VideoFrame) -> dict[str, Any]:
    """Fields of `VideoInfo` that depend neither on the number nor on the times of frames."""
    context = stream.codec_context
    aspect = stream.sample_aspect_ratio or context.sample_aspect_ratio or Fraction(1)
    is_turned = mark_of(frame).orientation.quarter_turns % 2
    transfers = map(transfer_name, sorted({int(frame.color_trc), int(context.color_trc)}, reverse=True))
    return {
        **frame_facts(frame, frame.height, frame.width),
        "pixel_aspect": 1 / aspect if is_turned else aspect,
        "transfer": next(filter(None, transfers), ""),
        "marks": (DOLBY_VISION,) if context.codec_tag in DOLBY_TAGS else (),
        "other_videos": other_videos(container, stream),
        "has_audio": len(container.streams.audio) > 0,
        "file_bytes": container.size,
        "container_s": None if container.duration is None else container.duration / av.time_base,
    }


@dataclass
class _Scan:
    """The running sums of a pass over packets.

    Attributes:
        end_s: the latest end of any packet, in seconds.
        stamps: presentation stamps of the packets that are shown, in decoding order.
        decoding: their decoding stamps.
        end_byte: where the last packet of any stream ends.
        last_ticks: how long the packet with the latest stamp is shown.
        has_marks: a packet is marked as damaged, has no presentation stamp, or could not be decoded before
            the first frame.
    """

    video_index: int
    container: str
    damage: DamageLog = field(default_factory=DamageLog)
    first_frame: av.VideoFrame | None = None
    stamps: "array[int]" = field(default_factory=lambda: array("q"))
    decoding: "array[int]" = field(default_factory=lambda: array("q"))
    last_ticks: int = 0
    n_packets: int = 0
    n_shown: int = 0
    end_s: float = 0.0
    end_byte: int = 0
    has_marks: bool = False
    _latest: int = NO_STAMP
    _lead_in: DamageLog = field(default_factory=DamageLog)
    _decode: Decoder = field(init=False)

    def __post_init__(self) -> None:
        self._decode = Decoder(self.container, self._lead_in)

    def add(self, path: str | Path, packet: "av.Packet[Any]") -> None:
        """Takes in one packet of any stream."""
        stamp = stamp_of(packet)
        if stamp is not None:
            self.end_s = max(self.end_s, float((stamp + (packet.duration or 0)) * packet.time_base))
        self.end_byte = max(self.end_byte, (packet.pos or 0) + packet.size)
        if packet.stream_index != self.video_index:
            return
        if packet.is_corrupt and self.container != "mpegts":
            raise VideoError(f"{path}: damaged or cut short near {self.end_s:.1f} s; fetch the file again")
        if self.first_frame is None:
            frames, fault = self._decode(packet)
            if fault:
                raise VideoError(f"{path}: the first frame cannot be decoded ({fault})")
            self.first_frame = frames[0] if frames else None
            self.has_marks |= self._lead_in.n_lead_in > 0
        self.n_packets += packet.size > 0 or stamp is not None
        if packet.size > 0 and not packet.is_discard:
            self._add_shown(packet, stamp)

    def _add_shown(self, packet: "av.Packet[Any]", stamp: int | None) -> None:
        self.n_shown += 1
        self.has_marks |= packet.is_corrupt or packet.pts is None
        self.stamps.append(NO_STAMP if stamp is None else stamp)
        self.decoding.append(NO_STAMP if packet.dts is None else packet.dts)
        if stamp is not None and stamp >= self._latest:
            self._latest, self.last_ticks = stamp, packet.duration or 0

    def recordings(self) -> list[Ticks]:
        """The presentation stamps by recording; none if any is unknown."""
        stamps = np.array(self.stamps, np.int64)
        if (stamps == NO_STAMP).any() or not len(stamps):
            return []
        return recordings(stamps, np.array(self.decoding, np.int64))


def _longest_step_s(parts: list[Ticks], time_base: Fraction, rate: Fraction | None) -> float:
    """The longest time between two frames of a recording, in seconds."""
    steps = [int(np.diff(part).max()) for part in parts if len(part) > 1]
    if steps:
        return float(max(steps) * time_base)
    return float(1 / rate) if rate else 0.0


def _check_complete(
    path: str | Path,
    container: av.container.InputContainer,
    stream: av.VideoStream,
    scan: _Scan,
    longest_step_s: float,
) -> None:
    """Compares what was found with what the header promises, where the format has a promise to trust."""
    name = container.format.name
    if name.startswith("mov") and scan.n_packets < len(stream.index_entries):
        promised = f"{scan.n_packets} of {len(stream.index_entries)} frames"
        raise VideoError(f"{path}: cut short, holds {promised}; fetch the file again")
    n_bytes = Path(path).stat().st_size
    if name == "mpegts" and all(n_bytes % packet for packet in (188, 192, 204)):
        raise VideoError(f"{path}: cut short, ends within a transport packet; fetch the file again")
    if (begins := second_recording(path, name, scan.end_byte)) is not None:
        scan.damage.add(f"another recording was joined to it at byte {begins}, and is not read, or not completely")
    if name == "ogg" and not ends_as_ogg(path):
        scan.damage.add("cut short: its last page is not marked as the end")
    promised_s = 0.0
    if name.startswith(("matroska", "flv", "asf")):
        promised_s = (container.duration or 0) / 1e6
    elif name == "avi":
        promised_s = float(stream.frames * (stream.time_base or 0))
        if scan.n_packets < stream.frames:
            scan.damage.add(f"holds {scan.n_packets} of {stream.frames} frames that its header states")
    # The length of the last frame may be missing, and headers round.
    if promised_s - scan.end_s > max(2 * longest_step_s, 0.01 * promised_s):
        found = f"holds {scan.end_s:.1f} of {promised_s:.1f} s"
        if not name.startswith(("flv", "asf")):
            raise VideoError(f"{path}: cut short, {found}; fetch the file again")
        # Programs that cut such files leave this header as it was.
        scan.damage.add(f"{found} that its header states")


def second_recording(path: str | Path, container: str, end: int) -> int | None:
    """Where a recording begins that is not read; None if none does, or the format reads all of them.

    Args:
        path: the file.
        container: name of the container format.
        end: where the last packet that was read ends, in bytes.
    """
    if container.startswith("mov"):
        return second_movie(path)
    beginning = _BEGINNINGS.get(container)
    if beginning is None:
        return None
    with Path(path).open("rb") as file:
        file.seek(end)
        data = b""
        while block := file.read(_BLOCK):
            data = data[-len(beginning) :] + block
            if (place := data.find(beginning)) >= 0:
                return file.tell() - len(data) + place
    return None


def ends_as_ogg(path: str | Path) -> bool:
    """Whether the last page of an Ogg file is the last one of a stream. Source: RFC 3533, section 6, header type."""
    with Path(path).open("rb") as file:
        file.seek(max(0, Path(path).stat().st_size - _LARGEST_OGG_PAGE))
        tail = file.read()
    page = tail.rfind(b"OggS")
    return page < 0 or len(tail) < page + 6 or bool(tail[page + 5] & 4)
