"""A report of scores as one file: a page for a browser, or a picture for papers and slides."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ugcvqa.display.images import Image
from ugcvqa.errors import ConfigError
from ugcvqa.files import write_atomic
from ugcvqa.scoring.overview import Overview
from ugcvqa.scoring.report_data import About, SaliencyMaps, gather
from ugcvqa.scoring.report_page import report_html
from ugcvqa.settings import DecodeLimits, FamilySettings, SaliencySettings

SUFFIXES = (".html", ".png", ".svg", ".pdf")
"""Kinds of reports, by the ending of the file."""


class Reporter:
    """Writes the report of a run at its end; what cannot work is refused at its start.

    Args:
        path: the file; its ending says which kind.
        saliency: how saliency maps of the videos are computed; None for none.
        device: where they are computed.

    Attributes:
        overview: the scores; they are to be put in as they come.

    Raises:
        ConfigError: if the ending is unknown, a folder has this name, or a setting cannot be used.
        WeightsError: if weights for the maps are missing or wrong.
    """

    def __init__(self, path: Path, saliency: SaliencySettings | None = None, device: str = "cpu") -> None:
        if path.suffix.lower() not in SUFFIXES:
            raise ConfigError(f"{path}: a report is a file that ends in {', '.join(SUFFIXES)}")
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder; give the report another name")
        self.overview = Overview()
        self._path = path
        self._saliency = None if saliency is None else saliency_maps(saliency, device)

    def write(self, about: About, limits: DecodeLimits) -> None:
        """Writes the report, whole or not at all.

        Args:
            about: what the scores are, such as the scorer.
            limits: bounds on what is decoded for pictures.

        Raises:
            StoreError: if it cannot be written.
        """
        report = gather(self.overview, about, limits, self._saliency)
        suffix = self._path.suffix.lower()
        if suffix == ".html":
            write_atomic(self._path, report_html(report).encode())
            return
        from ugcvqa.scoring.report_figure import report_figure

        write_atomic(self._path, report_figure(report, suffix))


def saliency_maps(settings: SaliencySettings, device: str = "cpu") -> SaliencyMaps:
    """Builds what computes the saliency maps of a report.

    Args:
        settings: network, weights and method.
        device: where they are computed.

    Raises:
        WeightsError: if weights are missing or wrong.
        ConfigError: if a setting cannot be used.
    """
    import torch

    from ugcvqa.features.families import build_families

    family = build_families(("saliency",), FamilySettings(saliency=settings))["saliency"].to(device)

    def maps(frames: Sequence[Image]) -> list[np.ndarray]:
        batch = torch.from_numpy(np.stack(frames)).to(device)
        return list(family({"rgb224": batch}).maps.cpu().numpy())

    is_random = settings.weights.startswith("random:")
    weights = "RANDOM weights, which mean nothing" if is_random else f"weights {Path(settings.weights).name}"
    return SaliencyMaps(f"Score-CAM of {settings.backbone}, {weights}, method {settings.method}", maps)
