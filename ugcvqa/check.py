"""`ugcvqa check`: lists missing, doubled, extra and unreadable files of a data set."""

import sys
from functools import partial
from pathlib import Path

from ugcvqa.cli import run_verb
from ugcvqa.settings.data import DataSettings


def check(data: DataSettings = DataSettings(), probe: bool = False, out: str | None = None, workers: int = 1) -> int:
    """Lists missing, doubled, extra and unreadable files of a data set, and which copy of a video is used.

    The exit code is 0 if every labelled video is there and readable, else 1.

    Args:
        data: the labels and the folder of the videos.
        probe: decode every file, as scoring does, to see whether all of it can be read and what makes it doubtful.
        out: CSV file for the complete list.
        workers: files decoded at the same time.
    """
    from ugcvqa.datasets.inventory import check_dataset
    from ugcvqa.features.inputs import data_root, open_dataset
    from ugcvqa.files import write_atomic

    report = check_dataset(open_dataset(data), data_root(data), probe_files=probe, workers=workers)
    sys.stdout.writelines(f"{line}\n" for line in report.lines())
    if out is not None:
        write_atomic(Path(out), report.to_csv().encode("utf-8", "surrogateescape"))
    return 0 if report.is_fine else 1


main = partial(run_verb, check)

if __name__ == "__main__":
    sys.exit(main())
