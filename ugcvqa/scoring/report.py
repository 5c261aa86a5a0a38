"""A report of scores as one file: a page for a browser, or a picture for papers and slides."""

from pathlib import Path

from ugcvqa.errors import ConfigError
from ugcvqa.files import write_atomic
from ugcvqa.scoring.report_data import About, SaliencyMaps, gather
from ugcvqa.scoring.report_page import report_html
from ugcvqa.scoring.tally import Tally
from ugcvqa.settings import DecodeLimits

SUFFIXES = (".html", ".png", ".svg", ".pdf")
"""Kinds of reports, by the ending of the file."""


def check_report(path: Path) -> None:
    """Refuses what no report can be written to, before any work.

    Raises:
        ConfigError: if the ending is unknown or a folder has this name.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{path}: a report is a file that ends in {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; give the report another name")


def write_report(
    path: Path, tally: Tally, about: About, limits: DecodeLimits, saliency: SaliencyMaps | None = None
) -> None:
    """Writes a report, whole or not at all.

    Args:
        path: the file; its ending says which kind.
        tally: the scores.
        about: what they are, such as the scorer.
        limits: bounds on what is decoded for pictures.
        saliency: computes maps of the frames of videos that are shown one by one; None for none.

    Raises:
        StoreError: if it cannot be written.
    """
    report = gather(tally, about, limits, saliency)
    if path.suffix.lower() == ".html":
        write_atomic(path, report_html(report).encode("utf-8", "backslashreplace"))
        return
    from ugcvqa.scoring.report_figure import report_figure

    write_atomic(path, report_figure(report, path.suffix.lower()))
