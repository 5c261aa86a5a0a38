"""Scores versions of clips that cannot look better than them, and tells which orders a model gets wrong.

    python tools/distortion_suite.py CLIP... [--model NAME_OR_FILE] [--encodings]

Prints a line for every version that is judged wrongly, and the table of the model's card; with --encodings the same for
ladders of ever heavier encodings, and for half the size of clips of 720 lines and more. Exit code 1 if more than
`--most` orders are wrong. A small clip takes some twenty processor seconds, one of 1080p with --encodings
a minute.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import ugcvqa
from ugcvqa.benchmarks.distortions import judged, judged_encodings, suite_table
from ugcvqa.cli import exit_code_of


def main() -> int:
    """Runs the tool and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument(
        "--model", help="name of a released model, or a file or run folder; the default one if left out"
    )
    parser.add_argument("--most", type=int, help="wrong orders that are tolerated; any number if left out")
    parser.add_argument("--encodings", action="store_true", help="encoding ladders and half sizes in place of damage")
    arguments = parser.parse_args()
    judge = judged_encodings if arguments.encodings else judged
    model, found = ugcvqa.load(arguments.model), []
    with tempfile.TemporaryDirectory() as folder:
        for clip in arguments.clips:
            for one in judge(model, clip, Path(folder)):
                found.append(one)
                if one.is_wrong:
                    sys.stdout.write(f"{one.clip} {one.kind}: {one.change:+.3f} to {one.mos:.3f}, wrong\n")
    sys.stdout.write(f"\n{suite_table(found)}\n")
    return int(arguments.most is not None and sum(one.is_wrong for one in found) > arguments.most)


if __name__ == "__main__":
    sys.exit(exit_code_of(main, "distortion_suite"))
