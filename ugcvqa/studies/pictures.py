"""Draws videos for the saliency study: Figure 1 from frames and maps, Figures 5 and 6 from activations."""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import nn

from ugcvqa.deep.backbones import load_backbone
from ugcvqa.deep.imagenet import normalise
from ugcvqa.display.maps import coloured, overlay
from ugcvqa.errors import VideoError
from ugcvqa.features.network_families import SaliencyFamily
from ugcvqa.files import write_atomic
from ugcvqa.media.encode import png_bytes, write_video
from ugcvqa.settings.study import PictureSettings
from ugcvqa.studies.activations import FIRST_CHANNELS, LayerActivation, layer_activations
from ugcvqa.studies.analysis import count
from ugcvqa.studies.figures import write_figure
from ugcvqa.studies.frame_figures import (
    MOST_GRID_FRAMES,
    Picture,
    channel_frames,
    saliency_grid,
    strongest_channels,
    video_frames,
)
from ugcvqa.studies.frames import NetworkFacts, StudyNetworks, spread
from ugcvqa.studies.measures import Measurement, VideoMeasures, read_small_frames
from ugcvqa.studies.page import Exhibit
from ugcvqa.studies.sentences import network_text, sentence, weights_text

log = logging.getLogger(__name__)

_FRAMES = {"crf": "20", "preset": "fast"}
_SHEETS = {"crf": "28", "preset": "fast"}  # 64 noisy tiles cost many bits
_CHANNELS_PER_S = 2  # pictures of channels shown per second: four frames of a layer take the original's two seconds


class ActivationRow(NamedTuple):
    """The strongest channel of one convolution, as a line of activations.csv."""

    network: str
    video_id: str
    frame: int
    position: int
    layer: str
    n_channels: int
    strongest: int
    mean: float
    is_after_activation: bool


class Drawn(NamedTuple):
    """What was drawn of some videos.

    Attributes:
        exhibits: pictures and animations, in order.
        rows: a line per convolution.
        failures: video id -> why it was not drawn.
    """

    exhibits: list[Exhibit]
    rows: list[ActivationRow]
    failures: dict[str, str]


def draw_videos(
    folder: Path, drawn: Sequence[VideoMeasures], measurement: Measurement, settings: PictureSettings
) -> Drawn:
    """Writes Figure 1 of each video, Figures 5 and 6 of the first; one that cannot be drawn costs its pictures only.

    Raises:
        StoreError: if a file cannot be written.
    """
    found, networks = Drawn([], [], {}), measurement.networks
    for number, one in enumerate(drawn):
        try:
            pictures = sampled_pictures(one, measurement)
            caption = sentence(network_text(networks.facts[1]))
            found.exhibits.extend(draw_saliency(folder, one, pictures, caption, settings.figures))
            for name, network, facts in _shown_networks(networks) if number == 0 else ():
                log.info("drawing activations of %s", name)
                caption = sentence(f"{weights_text(facts)}{facts.remark}")
                exhibits, rows = draw_activations(folder, one, pictures, network, name, settings, caption)
                found.exhibits.extend(exhibits)
                found.rows.extend(rows)
        except VideoError as error:
            log.warning("%s: not drawn: %s", one.video_id, error)
            found.failures[one.video_id] = str(error)
    return found


def _shown_networks(networks: StudyNetworks) -> Iterator[tuple[str, nn.Module, NetworkFacts]]:
    """Yields name, network and facts of the networks whose activations are drawn: of maps and of deep features."""
    deep, saliency = networks.facts
    yield saliency.name, cast(SaliencyFamily, networks.saliency).cam.network.cpu(), replace(saliency, remark="")
    if (deep.name, deep.weights) != (saliency.name, saliency.weights):
        # built again, as the one that computes features has its normalisations folded into its convolutions
        name = deep.name if deep.name != saliency.name else f"{deep.name}_deep"
        remark = f"; the complete network, while the features are from it {deep.remark}" if deep.remark else ""
        yield name, load_backbone(deep.name, deep.weights), replace(deep, remark=remark)


def sampled_pictures(measures: VideoMeasures, measurement: Measurement) -> list[Picture]:
    """Reads the study's frames of a video again, with their maps from the store."""
    indices = measures.arrays["frame_index"].tolist()
    frames = read_small_frames(measures.path, indices, measurement.limits).permute(0, 2, 3, 1).numpy()
    content = measurement.store.content(Path(measures.path))
    maps = measurement.store.get(measurement.networks.maps.spec, content)["maps"]
    fps = float(measures.facts["fps"])
    return [Picture(k + 1, k / fps, frame, one) for k, frame, one in zip(indices, frames, maps, strict=True)]


def draw_saliency(
    folder: Path, measures: VideoMeasures, pictures: Sequence[Picture], caption: str, kinds: Sequence[str] = ()
) -> list[Exhibit]:
    """Writes Figure 1 of a video: the grid, the overlay video, and three files per frame.

    Returns:
        The grid and the video.

    Raises:
        StoreError: if a file cannot be written.
        VideoError: if the video cannot be encoded.
    """
    aspect = measures.facts["width"] / measures.facts["height"]
    place = Path("figure1") / plain_name(measures.video_id)
    for picture in pictures:
        images = {"frame": picture.frame, "map": coloured(picture.saliency)}
        for kind, image in {**images, "overlay": overlay(picture.frame, picture.saliency)}.items():
            write_atomic(folder / place / f"frame_{picture.number:06d}_{kind}.png", png_bytes(image))
    write_figure(folder / place / "grid.png", saliency_grid(pictures, measures.video_id, aspect), kinds)
    write_video(folder / place / "overlay.mp4", video_frames(pictures, aspect), 1, options=_FRAMES)
    frames = count(len(pictures), "sampled frame")
    missing = sum(not picture.has_map for picture in pictures)
    lacking = f" {missing} of them have no map." if missing else ""
    short = " The video is shorter than a second; its middle frame is used." if measures.facts["is_short"] else ""
    shown = min(len(pictures), MOST_GRID_FRAMES)
    evenly = f", {shown} of them drawn," if shown < len(pictures) else ""
    grid = (
        f"Figure 1, {measures.video_id}: {frames}{evenly} and below each its Score-CAM map laid over it (standardised "
        f"for display; yellow is salient).{lacking}{short} {caption}"
    )
    moving = (
        f"Figure 1 as a video, {measures.video_id}: frame, map and overlay, one second per sampled frame. {caption}"
    )
    return [Exhibit(f"{place}/grid.png", grid), Exhibit(f"{place}/overlay.mp4", moving)]


def draw_activations(
    folder: Path,
    measures: VideoMeasures,
    pictures: Sequence[Picture],
    network: nn.Module,
    name: str,
    settings: PictureSettings,
    caption: str,
) -> tuple[list[Exhibit], list[ActivationRow]]:
    """Writes Figures 5 and 6 of a video for one network.

    The network is on the CPU, in evaluation mode.

    Returns:
        The pictures, and a row per convolution.
    """
    picture = pictures[min(settings.frame, len(pictures)) - 1]
    layers = _activations(network, picture)
    title = f"{name}: strongest channel of each convolution, frame {picture.number} of {measures.video_id}"
    still, moving = Path("figure5") / f"{name}.png", Path("figure6") / f"{name}.mp4"
    write_figure(folder / still, strongest_channels(layers, picture.frame, title), settings.figures)
    after = sum(layer.is_after_activation for layer in layers)
    values = (
        "after the activation that follows each of them in place"
        if after == len(layers)
        else "of the convolutions themselves"
        if not after
        else f"of the convolutions themselves, {after} of them after an activation in place"
    )
    exhibits = [
        Exhibit(
            str(still),
            f"Figure 5, {measures.video_id}, frame {picture.number}: of each of the {len(layers)} convolutions that "
            "put out maps, in network order, the channel of the largest mean over space, each on its own scale; values "
            f"{values}. {caption}",
        )
    ]
    if settings.animation_frames:
        chosen = [pictures[k] for k in spread(len(pictures), settings.animation_frames)]
        found = [_activations(network, one) for one in chosen]
        (folder / moving).parent.mkdir(parents=True, exist_ok=True)
        write_video(folder / moving, channel_frames(found, chosen, name), _CHANNELS_PER_S, options=_SHEETS)
        exhibits.append(
            Exhibit(
                str(moving),
                f"Figure 6, {measures.video_id}: the first {FIRST_CHANNELS} channels of each convolution that puts out "
                f"maps, in network order, on {len(chosen)} of the sampled frames, each channel on its own scale. "
                f"{caption}",
            )
        )
    rows = [
        ActivationRow(
            name,
            measures.video_id,
            picture.number,
            position,
            layer.layer,
            layer.n_channels,
            layer.strongest + 1,
            float(layer.strongest_map.mean()),
            layer.is_after_activation,
        )
        for position, layer in enumerate(layers, start=1)
    ]
    return exhibits, rows


def plain_name(video_id: str) -> str:
    """A video's id as the name of a folder."""
    return re.sub(r"[^\w.-]+", "_", video_id)


def _activations(network: nn.Module, picture: Picture) -> list[LayerActivation]:
    frame = torch.from_numpy(picture.frame).permute(2, 0, 1)[None].contiguous()
    return layer_activations(network, normalise(frame))
