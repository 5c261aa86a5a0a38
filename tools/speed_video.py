"""Compares reading in one pass with the usual ways of loading videos: CPU time and peak memory.

Run `python tools/speed_video.py [CLIP]`. Each job has a process of its own, one thread; jobs that are compared take
turns for some rounds. Printed are medians in CPU seconds, and of ratios the median with their range over the rounds.
Without a clip, a 10-second 1080p one of moving noisy texture is made.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from statistics import median

import av
import numpy as np

from ugcvqa.media.encode import write_video
from ugcvqa.media.sampling import Piece, nss_pieces, rounded_rate
from ugcvqa.media.video import Plan, VideoInfo, read_clips, read_frames

ROUNDS = 3
COMPARED = (
    *("naive_rgb", "stream_rgb", "load_whole", "sample_1_fps", "seek_1_fps"),
    *("decode_only", "nss", "all_families"),
)
SIZE = (1080, 1920)


def main(clip: Path | None = None) -> None:
    """Prints the comparison.

    Args:
        clip: a video to read; None makes one.
    """
    with tempfile.TemporaryDirectory() as folder:
        short, long = Path(folder) / "short.mp4", Path(folder) / "long.mp4"
        if clip is None:
            clip = Path(folder) / "texture.mp4"
            measure("make_texture", clip)
        measure("make_calm", short)
        repeat_packets(short, long, 60)
        base, seconds, mib = measure("idle", clip)[1], {job: list[float]() for job in COMPARED}, dict[str, float]()
        for _ in range(ROUNDS):
            for job in COMPARED:
                used, mib[job] = measure(job, clip)
                seconds[job].append(used)
        naive, stream, load = (seconds["naive_rgb"], seconds["stream_rgb"], seconds["load_whole"])
        print(
            f"(a) every frame to RGB: streamed {median(stream):.2f} s, {mib['stream_rgb'] - base:.0f} MiB above",
            end=" ",
        )
        print(f"{base:.0f} MiB idle, {ratio(stream, naive)} of a plain loop of to_ndarray")
        print(f"    loaded whole {median(load):.2f} s, {mib['load_whole'] - base:.0f} MiB above idle;", end=" ")
        print(f"{ratio(load, stream)} of streaming")
        sampled, seeking = seconds["sample_1_fps"], seconds["seek_1_fps"]
        print(
            f"(b) 1 frame per second: one pass {median(sampled):.2f} s, a seek per sample {median(seeking):.2f} s,",
            end=" ",
        )
        print(f"{ratio(seeking, sampled)} of that")
        decode = seconds["decode_only"]
        print(
            f"(c) decoding alone {median(decode):.2f} s; with NSS planes {ratio(seconds['nss'], decode)} of that;",
            end=" ",
        )
        print(f"with NSS, every-frame RGB and 1 fps RGB {ratio(seconds['all_families'], decode)} of that")
        brief_mib, lasting_mib = (measure("all_families", path)[1] for path in (short, long))
        print(f"(d) peak memory: 10 s of 1080p {brief_mib:.0f} MiB, 10 minutes {lasting_mib:.0f} MiB")


def ratio(times: Sequence[float], others: Sequence[float]) -> str:
    """The median ratio of two jobs, round by round, with its range."""
    ratios = [one / other for one, other in zip(times, others, strict=True)]
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) times"


def measure(job: str, clip: Path) -> tuple[float, float]:
    """Runs one job in a process of its own; returns its CPU seconds and the process's peak MiB."""
    command = [sys.executable, __file__, job, str(clip), "1"]
    seconds, mib = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return float(seconds), float(mib)


def run_job(job: str, clip: Path) -> None:
    """Runs one job in this process; prints its CPU seconds and the peak MiB of the process."""
    start = time.process_time()
    JOBS[job](clip)
    print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def repeat_packets(source: Path, target: Path, times: int) -> None:
    """Writes a file that shows another one several times, without encoding again."""
    with av.open(str(target), "w") as output:
        copy = None
        for turn in range(times):
            with av.open(str(source)) as container:
                stream = container.streams.video[0]
                copy = copy or output.add_stream_from_template(stream)
                for packet in container.demux(stream):
                    if packet.size and packet.pts is not None and packet.dts is not None:
                        shift = turn * (stream.duration or 0)
                        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                        packet.stream = copy
                        output.mux(packet)


def idle(clip: Path) -> None:
    """Does nothing: the cost of the imports."""


def make_texture(clip: Path) -> None:
    """Writes 10 s of a panning texture under camera-like noise."""
    rng = np.random.default_rng(0)
    coarse = np.kron(rng.integers(40, 200, (135, 240, 3)), np.ones((8, 8, 1), int))
    noise = rng.integers(-12, 13, (4, *SIZE, 1))
    frames = (np.roll(coarse, 3 * i, 1) + np.roll(noise[i % 4], 31 * i, (0, 1)) for i in range(300))
    write_video(clip, (frame.clip(0, 255).astype(np.uint8) for frame in frames), 30, options={"preset": "veryfast"})


def make_calm(clip: Path) -> None:
    """Writes 10 s of a slowly brightening ramp, which is quick to decode."""
    ramp = np.broadcast_to(np.linspace(0, 200, SIZE[1], dtype=np.uint8)[None, :, None], (*SIZE, 3))
    write_video(clip, (ramp + np.uint8(i // 30) for i in range(300)), 30, options={"preset": "ultrafast"})


def stream_rgb(clip: Path) -> None:
    """Reads every frame as RGB, one at a time."""
    for _ in read_frames(clip):
        pass


def naive_rgb(clip: Path) -> None:
    """Reads every frame as RGB in the shortest loop that PyAV allows, without any check."""
    with av.open(str(clip)) as container:
        container.streams.video[0].thread_count = 1
        for frame in container.decode(video=0):
            frame.to_ndarray(format="rgb24")


def load_whole(clip: Path) -> None:
    """Reads every frame as RGB into one array, as public demonstrations do."""
    with av.open(str(clip)) as container:
        container.streams.video[0].thread_count = 1
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    np.stack(frames)


def every_frame(info: VideoInfo) -> Iterator[Piece]:
    """Yields every frame as RGB, in pieces of four."""
    for start in range(0, info.n_frames, 4):
        yield Piece({"rgb": tuple(range(start, min(start + 4, info.n_frames)))})


def one_per_second(info: VideoInfo) -> Iterator[Piece]:
    """Yields the last frame of each second as RGB."""
    step = rounded_rate(info.rate)
    for index in range(step - 1, info.n_frames, step):
        yield Piece({"rgb": (index,)})


def nss(info: VideoInfo) -> Iterator[Piece]:
    """Yields the pieces of the NSS features."""
    return nss_pieces(info.n_frames, info.rate)


def read_plans(clip: Path, plans: dict[str, Plan]) -> None:
    """Reads what some families want in one pass."""
    for _ in read_clips(clip, plans):
        pass


def seek_1_fps(clip: Path) -> None:
    """Reads the last frame of each second by a seek for each, decoding from the key frame before."""
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        rate, time_base = Fraction(stream.average_rate or 30), Fraction(stream.time_base or 1)
        step = rounded_rate(rate)
        for index in range(step - 1, stream.frames, step):
            ticks = (stream.start_time or 0) + int(index / rate / time_base)
            container.seek(ticks, stream=stream)
            for frame in container.decode(stream):
                if frame.pts is not None and frame.pts >= ticks:
                    frame.to_ndarray(format="rgb24")
                    break


def decode_only(clip: Path) -> None:
    """Decodes all frames and converts none."""
    with av.open(str(clip)) as container:
        container.streams.video[0].thread_count = 1
        for _ in container.decode(video=0):
            pass


JOBS: dict[str, Callable[[Path], None]] = {
    "idle": idle,
    "make_texture": make_texture,
    "make_calm": make_calm,
    "naive_rgb": naive_rgb,
    "stream_rgb": stream_rgb,
    "load_whole": load_whole,
    "sample_1_fps": lambda clip: read_plans(clip, {"one": one_per_second}),
    "seek_1_fps": seek_1_fps,
    "decode_only": decode_only,
    "nss": lambda clip: read_plans(clip, {"nss": nss}),
    "all_families": lambda clip: read_plans(clip, {"nss": nss, "every": every_frame, "one": one_per_second}),
}

if __name__ == "__main__":
    if len(sys.argv) == 4:
        run_job(sys.argv[1], Path(sys.argv[2]))
    else:
        main(*map(Path, sys.argv[1:]))
