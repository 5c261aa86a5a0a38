"""Measures the peak memory of `ugcvqa extract` on videos of two lengths, one process per row.

    python tools/speed_memory.py [--rows VSFACNN SALIENCY all] [--seconds 10 60] [--rate 2] [--engine auto]

Weights are random. Frames are few (`--rate`) and Score-CAM scores 16 channels (`--channels`), which changes the time
and little of the memory; with these, a second of video takes some 20 processor seconds for all rows, at 30 frames per
second over 100. The bound of this package is 2.5e9 bytes of resident memory, imports and weights included, whatever
the length; the exit code is 1 if a row misses it. Linux.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from ugcvqa.media.encode import write_video

BOUND_BYTES = 2.5e9

EXTRACT = "import resource, sys, time; from ugcvqa.extract import main; code = main(sys.argv[1:]); " + (
    "print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()); sys.exit(code)"
)


def write_clip(path: Path, seconds: float, rate: int, width: int, height: int) -> None:
    """Encodes a textured picture that moves sideways; both sides are multiples of 8."""
    coarse = np.random.default_rng(0).normal(128, 50, (height // 8, width // 8, 3)).clip(0, 255).astype(np.uint8)
    picture = coarse.repeat(8, axis=0).repeat(8, axis=1)
    frames = (np.roll(picture, 3 * index, axis=1) for index in range(round(seconds * rate)))
    write_video(path, frames, rate, options={"preset": "ultrafast", "crf": "30"})


def measure(folder: Path, clip: Path, rows: str, channels: int, engine: str) -> tuple[int, float]:
    """Peak resident memory in bytes, and processor seconds, of one extraction in a process of its own.

    Raises:
        SystemExit: if the extraction fails.
    """
    labels = folder / "labels.csv"
    with labels.open("w", newline="") as file:
        csv.writer(file).writerows([("file", "mos"), (clip.name, 3)])
    random = [f"--families.{family}.weights=random:0" for family in ("deep", "saliency")]
    data = ["--data.name=memory", f"--data.root={folder}", f"--data.labels={labels}"]
    others = [f"--families.engine={engine}", f"--rows={rows}", f"--store={folder / 'store'}-{clip.stem}-{rows}"]
    command = [sys.executable, "-c", EXTRACT, *data, *random, *others, f"--families.saliency.method=top:{channels}"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(run.stdout + run.stderr)
    peak, seconds = run.stdout.split()[-2:]
    return int(peak), float(seconds)


def main() -> int:
    """Prints one line per row and length; returns 1 if one misses the bound."""
    parser = argparse.ArgumentParser(description="peak memory of extraction")
    parser.add_argument("--rows", nargs="+", default=["VSFACNN", "SALIENCY", "all"])
    parser.add_argument("--seconds", nargs="+", type=float, default=[10.0, 60.0], help="lengths of the videos")
    parser.add_argument("--rate", type=int, default=2, help="frames per second")
    parser.add_argument("--channels", type=int, default=16, help="channels that Score-CAM scores")
    parser.add_argument("--engine", choices=("auto", "torch", "openvino"), default="auto")
    parser.add_argument(
        "--size", nargs=2, type=int, default=(1920, 1080), help="width and height; the bound is for 1920 x 1080"
    )
    arguments = parser.parse_args()
    peaks = []
    with tempfile.TemporaryDirectory() as name:
        for seconds in arguments.seconds:
            clip = Path(name) / f"clip{seconds:g}.mp4"
            write_clip(clip, seconds, arguments.rate, *arguments.size)
            for rows in arguments.rows:
                peak, used = measure(Path(name), clip, rows, arguments.channels, arguments.engine)
                length = f"{seconds:6g} s at {arguments.rate}/s"
                missed = ", bound missed" if peak > BOUND_BYTES else ""
                print(f"{rows:12}{length}: {peak / 1e9:.3f}e9 bytes, {used:.0f} processor seconds{missed}", flush=True)
                peaks.append(peak)
    return int(max(peaks) > BOUND_BYTES)


if __name__ == "__main__":
    sys.exit(main())
