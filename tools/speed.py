"""Prints the speed and memory comparisons of reading videos and of the NSS features, one after the other.

    python tools/speed.py [CLIP]

One thread, CPU seconds, medians; only the ratios carry over to other machines.
"""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import speed_video

    speed_video.main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)

    import speed_nss  # only now: torch would count in the memory that the processes above inherit

    speed_nss.main()
