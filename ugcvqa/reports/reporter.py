"""A report of scores as one page for a browser, which also prints to PDF."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np

from ugcvqa.display.images import Image
from ugcvqa.errors import ConfigError, WeightsError
from ugcvqa.files import write_atomic
from ugcvqa.reports.gathering import SaliencyMaps, gather
from ugcvqa.reports.outputs import read_meaning, read_scores
from ugcvqa.reports.overview import MOST_DETAILED, Overview
from ugcvqa.scoring.about import About
from ugcvqa.scoring.result import Score
from ugcvqa.settings.data import DecodeLimits
from ugcvqa.settings.features import Engine, FamilySettings, SaliencySettings

log = logging.getLogger(__name__)


class Reporter:
    """Writes the report of a run at its end; what cannot work is refused at its start.

    Args:
        path: the .html file. None for no report, and then nothing is done.
        saliency: how saliency maps of the videos are computed; None for none.
        device: where they are computed.
        engine: library that computes them, see `FamilySettings`.
        command: what was typed, for the foot of the page.
        model: what scores, as it was typed; empty where that is not known.

    Raises:
        ConfigError: if the ending is unknown, a folder has this name, or a setting cannot be used.
        WeightsError: if weights for the maps are missing or wrong.
    """

    def __init__(
        self,
        path: str | None,
        saliency: SaliencySettings | None = None,
        device: str = "cpu",
        engine: Engine = "auto",
        command: str = "",
        model: str = "",
    ) -> None:
        self._path = None if path is None else Path(path)
        if self._path is None:
            return
        if self._path.suffix.lower() != ".html":
            raise ConfigError(f"{path}: a report is a file that ends in .html; a browser prints it to PDF")
        if self._path.is_dir():
            raise ConfigError(f"{path}: is a folder; give the report another name")
        self._overview, self._command, self._model = Overview(), command, model
        self._saliency = None if saliency is None else saliency_maps(saliency, device, engine)

    def explains(self, total: int | None) -> bool:
        """Whether it wants explanations with the scores of `total` videos: a folder's report has no room for them."""
        return self._path is not None and total is not None and total <= MOST_DETAILED

    def through(self, scores: Iterable[Score], is_plain: bool = False) -> Iterator[Score]:
        """Hands scores on and takes them into the report.

        `is_plain` leaves out the explanations, which only the report asked for.
        """
        if self._path is None:
            yield from scores
            return
        for score in self._overview.through(scores):
            yield replace(score, timeline=None, explanation=None) if is_plain else score

    def write(self, about: About, limits: DecodeLimits) -> None:
        """Writes the report, whole or not at all.

        Raises:
            StoreError: if it cannot be written.
        """
        if self._path is None:
            return
        from ugcvqa.reports.page import report_html

        made = " by ".join(filter(None, (f"made on {date.today():%Y-%m-%d}", self._command)))
        report = replace(gather(self._overview, about, limits, self._saliency, made), model=self._model)
        write_atomic(self._path, report_html(report).encode())

    def write_of(self, output: Path, limits: DecodeLimits) -> None:
        """Writes the report of a finished output: all its rows, whichever run made them.

        Raises:
            StoreError: if it cannot be written, or the output cannot be read.
        """
        if self._path is None:
            return
        for score in read_scores(output):
            self._overview.add(score)
        self.write(read_meaning(output), limits)


def chosen_maps(is_asked: bool | None, settings: SaliencySettings) -> SaliencySettings | None:
    """Chooses the saliency maps of a report.

    Args:
        is_asked: whether maps are wanted; None for those that can be had quickly and without fetching weights.
        settings: how they are computed if they are wanted.

    Returns:
        The settings, or those of EfficientNet-Lite0 with the approximation `top:24` if nothing was asked and its
        weights are installed; None for no maps.
    """
    if is_asked is False:
        return None
    if is_asked or settings != SaliencySettings():
        return settings
    from ugcvqa.deep.backbones import has_weights

    quick = replace(settings, backbone="efficientnet_lite0", method="top:24")
    try:
        return quick if has_weights(quick.backbone, quick.weights) else None
    except WeightsError as error:
        log.warning("the report has no saliency maps: %s", error)
        return None


def saliency_maps(settings: SaliencySettings, device: str = "cpu", engine: Engine = "auto") -> SaliencyMaps:
    """Builds what computes the saliency maps of a report.

    Raises:
        WeightsError: if weights are missing or wrong.
        ConfigError: if a setting cannot be used.
    """
    import torch

    from ugcvqa.features.families import build_families

    family = build_families(("saliency",), FamilySettings(saliency=settings, engine=engine))["saliency"].on(device)

    def maps(frames: Sequence[Image]) -> list[np.ndarray]:
        batch = torch.from_numpy(np.stack(frames)).to(device)
        return list(family({"rgb224": batch}).maps.cpu().numpy())

    is_random = settings.weights.startswith("random:")
    weights = "RANDOM weights, which mean nothing" if is_random else f"weights {Path(settings.weights).name}"
    method = "exact" if settings.method == "exact" else f"approximate ({settings.method})"
    return SaliencyMaps(f"Score-CAM of {settings.backbone}, {weights}, {method}", maps)
