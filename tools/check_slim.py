"""Makes an environment for scoring alone, without PyTorch, scores a video in it and measures what it takes.

    python tools/check_slim.py [FOLDER]

Linux; needs a package registry. Prints megabytes on disk, and processor seconds and peak memory of `ugcvqa score`; the
exit code is 1 if PyTorch is there, the video has no score, or the environment takes 600 MB or more.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from ugcvqa.media.encode import write_video

ROOT = Path(__file__).resolve().parent.parent
MOST_BYTES = 600e6
SCORE = """
import importlib.util, pathlib, sys, time
from ugcvqa.score import main
code = main(sys.argv[1:])
peak_kib = int(pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
print(f"{time.process_time():.2f} processor seconds, {peak_kib / 1024:.0f} MiB at most")
sys.exit(code or importlib.util.find_spec("torch") is not None)
"""


def check(folder: Path) -> int:
    """Makes the environment in a folder and scores in it; returns the exit code."""
    clip, environment = folder / "clip.mp4", folder / "environment"
    texture = np.random.default_rng(0).integers(40, 200, (135, 240, 3), np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    write_video(clip, (np.roll(texture, 2 * index, axis=1) for index in range(240)), 30)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    what = ["-r", str(ROOT / "requirements-score.txt"), str(ROOT)]
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "--no-input"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", *what], check=True)
    codes = [subprocess.run([python, "-c", SCORE, clip], cwd=folder, check=False).returncode for _ in range(2)]
    n_bytes = sum(path.lstat().st_size for path in environment.rglob("*") if path.is_file())
    print(f"{n_bytes / 1e6:.0f} MB on disk")
    return int(any(codes) or n_bytes >= MOST_BYTES)


def main() -> int:
    """Checks in the folder that is given, or in one that goes away."""
    if len(sys.argv) > 1:
        return check(Path(sys.argv[1]))
    with tempfile.TemporaryDirectory() as folder:
        return check(Path(folder))


if __name__ == "__main__":
    sys.exit(main())
