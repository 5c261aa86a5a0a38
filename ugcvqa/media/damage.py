"""Damage that FFmpeg notices in a file, by one rule for all containers and codecs.

- An error: a packet that the decoder refuses or that the file cuts short, a picture that the decoder marks as broken, a
  file that holds less than its header promises, and another number of pictures than packets promise.
- A note, which becomes a warning in the row of the video: a packet that a transport stream marks as damaged though it
  decodes, and any line that demuxer or decoder write to FFmpeg's log at its level of errors.

Before the first key frame neither holds: a recording that begins in the middle of a group of pictures has packets that
nobody can decode. They are left out, with a note. A key frame itself may be one of them only in streams that can begin
anywhere, such as transport streams.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import av
import av.container
import av.logging
import numpy as np
import numpy.typing as npt

from ugcvqa.media.clock import NO_STAMP
from ugcvqa.media.opening import heard, one_line

# A cut H.264 stream asks to forget pictures that were cut away. No pixel depends on it, but it counts as an error.
_FORGOTTEN = re.compile("(mmco: unref short failure ?)+")
_BEGIN_ANYWHERE = frozenset({"mpegts", "mpeg", "mpegvideo", "h264", "hevc", "m4v", "obu"})
# In these codecs a packet is a frame, but for single fields. Others may hide or pack frames.
PACKET_IS_FRAME = frozenset({"h264", "hevc", "vp9", "av1", "mjpeg", "prores", "ffv1"})
_MOST_KINDS = 3
_LONGEST = 120


@dataclass
class DamageLog:
    """What was noticed while a file was read, gathered as it is read.

    Attributes:
        n_lead_in: packets before the first picture that cannot be decoded.
    """

    n_lead_in: int = 0
    _own: list[str] = field(default_factory=list)
    _first: dict[str, tuple[int, str]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def add(self, text: str) -> None:
        """Notes what we found ourselves in the file as a whole."""
        self._own.append(text)

    def note(self, frame: int, text: str) -> None:
        """Notes damage near a frame; what differs in its numbers only is one kind of damage."""
        text = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())[:_LONGEST].strip(" !.")
        kind = re.sub(r"0x[0-9A-Fa-f]+|\b[0-9A-Fa-f]*\d[0-9A-Fa-f]*", "N", text)
        self._first.setdefault(kind, (frame, text))
        self._counts[kind] = self._counts.get(kind, 0) + 1

    def lines(self, times_s: npt.NDArray[np.float64]) -> tuple[str, ...]:
        """One line for each of the first kinds of damage that were met, with the times of the frames."""
        begins = f"it begins in the middle of a group of pictures, so {self.n_lead_in} packets are left out"
        lines = [*self._own, *([begins] if self.n_lead_in else [])]
        for kind, (frame, text) in list(self._first.items())[:_MOST_KINDS]:
            times = f" ({self._counts[kind]} times)" if self._counts[kind] > 1 else ""
            lines.append(f"FFmpeg reports near {times_s[min(frame, len(times_s) - 1)]:.1f} s: {text}{times}")
        more = len(self._first) - _MOST_KINDS
        return (*lines, f"FFmpeg reports {more} more kinds of damage") if more > 0 else tuple(lines)


def packets(
    container: av.container.InputContainer, stream: av.VideoStream | None
) -> Iterator[tuple["av.Packet[Any]", str]]:
    """Yields the packets of one stream or of all, each with what the demuxer reported about damage before it."""
    demuxed: Iterator[av.Packet[Any]] = container.demux() if stream is None else container.demux(stream)
    while True:
        packet, said = heard(partial(next, demuxed, None))
        if packet is None:
            return
        yield packet, said


def _decoded(packet: "av.Packet[Any]") -> tuple[list[av.VideoFrame], str]:
    """The pictures that a packet completes, and the decoder's error if it has one."""
    try:
        return packet.decode(), ""
    except av.FFmpegError as error:
        return [], one_line(error)


def stamp_of(packet: "av.Packet[Any]") -> int | None:
    """A packet's presentation time, or its decoding time where the container holds none."""
    return packet.dts if packet.pts is None else packet.pts


class Decoder:
    """Decodes the packets of one video stream and keeps the rule of this module.

    Args:
        container: name of the container format.
        log: where notes go.
    """

    def __init__(self, container: str, log: DamageLog) -> None:
        self._log, self._n_frames = log, 0
        # What marks damage there is a gap in the counter of packets, which joined recordings have too.
        self._is_transport = container == "mpegts"
        self._begins_anywhere = container in _BEGIN_ANYWHERE
        self._n_keys, self._first_key = 0, NO_STAMP
        self._n_fed, self._earliest, self._first_shown, self._has_fields = 0, NO_STAMP, NO_STAMP, False

    def __call__(self, packet: "av.Packet[Any]") -> tuple[list[av.VideoFrame], str]:
        """The pictures that a packet completes, and why it is damaged; empty if it is not."""
        if packet.size == 0 and stamp_of(packet) is not None:
            return [], ""  # a repeated frame; the decoder would take it for the end
        if packet.is_corrupt and not self._is_transport:
            return [], "incomplete packet"
        is_lead_in = self._is_lead_in(packet)
        self._count(packet)
        (frames, fault), said = heard(partial(_decoded, packet))
        if fault and is_lead_in:
            self._log.n_lead_in += 1
            return [], ""
        if fault and not _FORGOTTEN.fullmatch(said):
            return [], fault
        whole = [frame for frame in frames if not frame.is_corrupt]
        if packet.is_keyframe:
            stamp = stamp_of(packet)
            self._n_keys += 1
            self._first_key = stamp if self._n_keys == 1 and stamp is not None else self._first_key
        if said and not is_lead_in:
            self._log.note(self._n_frames, said)
        if packet.is_corrupt and not is_lead_in:
            self._log.note(self._n_frames, "the transport stream lost packets, or recordings were joined")
        self._note_left_out(packet, whole)
        self._n_frames += len(whole)
        return whole, "" if len(whole) == len(frames) or is_lead_in else "corrupt frame"

    def _count(self, packet: "av.Packet[Any]") -> None:
        """Takes note of a packet that is to be shown, wherever the file begins."""
        stamp = stamp_of(packet)
        # Pictures that lead the first key frame may need what comes before the file: a cut at an open group is whole.
        is_leading = self._n_keys == 1 and not packet.is_keyframe and (stamp is None or stamp < self._first_key)
        if packet.size and not packet.is_discard and not is_leading:
            self._n_fed += 1
            if stamp is not None and (self._earliest == NO_STAMP or stamp < self._earliest):
                self._earliest = stamp

    def _note_left_out(self, packet: "av.Packet[Any]", frames: list[av.VideoFrame]) -> None:
        """At the end, notes packets that decoders have skipped silently, for example where a reference is missing."""
        if frames and self._n_frames == 0:
            self._first_shown = NO_STAMP if frames[0].pts is None else frames[0].pts
        self._has_fields |= any(frame.interlaced_frame for frame in frames)
        if packet.size or self._has_fields or packet.stream.codec.canonical_name not in PACKET_IS_FRAME:
            return
        left_out = self._n_fed - self._n_frames - len(frames)
        if left_out > self._log.n_lead_in and self._first_shown > self._earliest != NO_STAMP:
            self._log.n_lead_in = left_out
        elif left_out > self._log.n_lead_in:
            self._log.add(f"{left_out} packets give no picture")

    def _is_lead_in(self, packet: "av.Packet[Any]") -> bool:
        """Whether a packet comes before the first key frame, by its place or by the time at which it is shown."""
        if self._n_keys == 0:
            return self._n_frames == 0 and (self._begins_anywhere or not packet.is_keyframe)
        stamp = stamp_of(packet)
        return self._n_keys == 1 and not packet.is_keyframe and stamp is not None and stamp < self._first_key
