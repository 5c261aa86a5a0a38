"""Prints the speed and memory comparisons with the original ways of working, each in one run, one after the other.

    python tools/speed.py [SECTION ...] [--clip CLIP] [--large]

Sections: `video` (reading, against whole-video loading and seeking), `nss` (against plain SciPy), `networks` (CNN,
VSFACNN and Score-CAM with all reduced and approximate modes, the error of each beside its ratio). All of them if none
is named. One thread, CPU seconds, medians; only the ratios carry over to other machines.
"""

import argparse
import os
from pathlib import Path

SECTIONS = ("video", "nss", "networks")


def main() -> None:
    """Runs the sections that the command line names."""
    parser = argparse.ArgumentParser(description="speed, memory and errors against the original ways")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"{', '.join(SECTIONS)}; all if left out")
    parser.add_argument("--clip", type=Path, help="video file to read instead of made ones")
    parser.add_argument("--large", action="store_true", help="networks at 1920 x 1080 too")
    arguments = parser.parse_args()
    if unknown := set(arguments.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; use {', '.join(SECTIONS)}")
    sections = arguments.sections or SECTIONS
    # Each is imported only when it runs: torch would count in the memory that the processes of `video` inherit.
    if "video" in sections:
        import speed_video

        speed_video.main(arguments.clip)
    if "nss" in sections:
        import speed_nss

        speed_nss.main()
    if "networks" in sections:
        import speed_deep
        import speed_saliency

        speed_saliency.main([])
        speed_deep.main(arguments.large)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
