"""Prints all speed and memory comparisons of the package in one run: reading of videos, then NSS features.

    python tools/speed.py [CLIP]

One thread, CPU seconds, medians; only the ratios carry over to other machines.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import speed_nss
import speed_video

if __name__ == "__main__":
    speed_video.main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    speed_nss.main()
