"""Measures `ugcvqa score` as a user meets it, beside decoding alone, in rounds: CPU seconds and memory of commands.

    python tools/speed_score.py [--rounds 3] [--model NAME] [--tiny 1000] [--bulk 6]

The clips are made here: 160 x 120 of 1 s, which costs little more than the start, 960 x 540 of 8 s and 1920 x 1080 of
10 s at 25 frames per second, H.264. Each command is a process of its own on one thread; decoding alone is a process
that imports PyAV and decodes every frame. `--tiny` and `--bulk` score folders of copies of the smallest clip and of
each other one, in which the start is paid once. Times are of this machine, busy as it is: compare the ratios.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ugcvqa.demo.scene import Scene
from ugcvqa.demo.scenes import render_scene
from ugcvqa.media.encode import write_video

RATE, TINY = 25, (160, 120, 25)
CLIPS = {"160 x 120, 1 s": TINY, "540p, 8 s": (960, 540, 200), "1080p, 10 s": (1920, 1080, 250)}
DECODE = "import av, sys\nwith av.open(sys.argv[1]) as file:\n    print(sum(1 for _ in file.decode(video=0)))"


# A process of its own starts the command: Linux counts the memory of the process that starts another as that one's.
LAUNCH = """
import json, os, sys
_, status, used = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)
print(json.dumps([status, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


class Cost(NamedTuple):
    """Processor seconds of a command and its processes, and its largest process in MiB."""

    cpu_s: float
    peak_mib: float


def cost(command: Sequence[str]) -> Cost:
    """Runs a command to its end.

    Raises:
        RuntimeError: if it fails.
    """
    launch, environment = [sys.executable, "-c", LAUNCH, *command], {**os.environ, "OMP_NUM_THREADS": "1"}
    found = subprocess.run(launch, capture_output=True, text=True, env=environment, check=True)
    status, cpu_s, peak_mib = json.loads(found.stdout.splitlines()[-1])
    if status:
        raise RuntimeError(f"{found.stdout}{found.stderr}"[-500:])
    return Cost(cpu_s, peak_mib)


def made(folder: Path, width: int, height: int, n_frames: int) -> Path:
    """A clip of a rendered city, its frames forth and back again."""
    path = folder / f"{width}x{height}.mp4"
    scene = render_scene(Scene("city", 1, width, height, Fraction(RATE), 50))
    there_and_back = np.concatenate((np.arange(50), np.arange(49, -1, -1)))
    frames = (scene[there_and_back[k % 100]] for k in range(n_frames))
    write_video(path, frames, RATE, options={"crf": "23", "preset": "veryfast"})
    return path


def copies(path: Path, count: int) -> Path:
    """A folder of so many copies of a clip."""
    folder = path.with_suffix("")
    folder.mkdir()
    for number in range(count):
        shutil.copy(path, folder / f"{number}.mp4")
    return folder


def main() -> int:
    """Runs the tool and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="")
    parser.add_argument("--tiny", type=int, default=0, help="copies of the smallest clip, scored as a folder")
    parser.add_argument("--bulk", type=int, default=0, help="copies of each other clip, likewise")
    arguments = parser.parse_args()
    model = ["--model", arguments.model] if arguments.model else []
    score = [sys.executable, "-m", "ugcvqa.score", *model]
    print("| clip | `score`, CPU s | decoding, CPU s | ratio | peak, MiB | videos per core-hour |")
    print("|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for name, size in CLIPS.items():
            path = str(made(Path(folder), *size))
            cost([*score, path])  # kernels are compiled once per machine
            found = [
                (cost([*score, path]), cost([sys.executable, "-c", DECODE, path])) for _ in range(arguments.rounds)
            ]
            whole, alone = (np.array([pair[k].cpu_s for pair in found]) for k in (0, 1))
            peak, ratios = max(pair[0].peak_mib for pair in found), whole / alone
            spread = " | ".join(f"{np.median(x):.2f} ({x.min():.2f}-{x.max():.2f})" for x in (whole, alone, ratios))
            print(f"| {name} | {spread} | {peak:.0f} | {3600 / np.median(whole):.0f} |", flush=True)
        for name, count in (
            ("160 x 120, 1 s", arguments.tiny),
            ("540p, 8 s", arguments.bulk),
            ("1080p, 10 s", arguments.bulk),
        ):
            if count:
                many = copies(Path(folder) / f"{CLIPS[name][0]}x{CLIPS[name][1]}.mp4", count)
                one = cost([*score, str(many), "--output", f"{many}.csv", "--workers", "1"])
                each = one.cpu_s / count
                print(
                    f"{count} videos of {name}: {one.cpu_s:.1f} CPU s, {each:.3f} each, {3600 / each:.0f} "
                    f"per core-hour, {one.peak_mib:.0f} MiB"
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
