"""Saliency maps over frames of a few videos, for people who watch a training."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ugcvqa.datasets.catalogue import Dataset
from ugcvqa.deep.backbones import has_weights
from ugcvqa.display.maps import overlay
from ugcvqa.errors import UgcvqaError
from ugcvqa.features.families import build_families
from ugcvqa.media.video import probe, read_frames
from ugcvqa.settings.features import FamilySettings
from ugcvqa.trainer import root_device

log = logging.getLogger(__name__)

_QUICK = "top:32"  # of all 512 channels of VGG-16, which take minutes per frame on a CPU


def saliency_overlays(
    dataset: Dataset, ids: Sequence[str], families: FamilySettings, most: int, trainer: Mapping[str, Any]
) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    """Yields Score-CAM maps over the middle frames of some videos, squashed to 224 x 224 as the maps are.

    Weights that are not on this machine are not fetched for it: then nothing comes. On a CPU the maps are made of a
    part of the channels, unless another method is set.

    Args:
        dataset: its videos.
        ids: of the videos to choose from, in order.
        families: settings of the saliency maps.
        most: largest number of videos.
        trainer: arguments of Lightning's Trainer, on whose device they are computed.

    Yields:
        The video's id, and (224, 224, 3) uint8.
    """
    settings = families.saliency
    paths = {video.video_id: video.path for video in dataset.videos}
    chosen = [video_id for video_id in ids if paths[video_id] is not None][:most]
    if not chosen or not has_weights(settings.backbone, settings.weights):
        return
    device = root_device(trainer)
    if device.type == "cpu" and settings.method == "exact":
        families = replace(families, saliency=replace(settings, method=_QUICK))
    try:
        family = build_families(("saliency",), families)["saliency"].on(str(device))
        for video_id in chosen:
            path = str(paths[video_id])
            frames = read_frames(path, [probe(path).n_frames // 2], form="rgb224")
            frame = np.array(next(picture for _, _, picture in frames))
            maps = family({"rgb224": torch.from_numpy(frame)[None].to(device)}).maps
            yield video_id, overlay(np.ascontiguousarray(frame.transpose(1, 2, 0)), maps[0].cpu().numpy())
    except UgcvqaError as error:
        log.warning("no more saliency maps: %s", error)
