"""The input of the saliency study: its videos, its frames, and the features of these frames in the store."""

import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ugcvqa.datasets.catalogue import Dataset, Video
from ugcvqa.datasets.finding import video_files
from ugcvqa.deep.pooling import CNN
from ugcvqa.deep.precision import exact_unless_asked
from ugcvqa.deep.saliency import MapMean
from ugcvqa.errors import ConfigError, StoreError, VideoError
from ugcvqa.features.families import build_families
from ugcvqa.features.family import Family
from ugcvqa.features.network_families import NetworkFamily
from ugcvqa.features.store import FeatureSpec, FeatureStore
from ugcvqa.media.sampling import Piece, Seconds, saliency_frames, small_pieces
from ugcvqa.media.video import VideoInfo
from ugcvqa.settings.features import FamilySettings
from ugcvqa.settings.study import DeepNetwork

log = logging.getLogger(__name__)

_FRAMES_PER_PIECE = 8
_GREY_LEVELS = 2.0  # mean spread of R, G and B that coding leaves in a frame without colour


def given_videos(names: Sequence[str]) -> Dataset:
    """Makes a data set, without labels, of video files and of all videos in folders.

    Raises:
        ConfigError: if a folder holds no video.
        LabelError: if a folder cannot be listed.
    """
    paths: list[Path] = []
    for name in names:
        found = video_files(Path(name)) if Path(name).is_dir() else (Path(name),)
        if not found:
            raise ConfigError(f"{name}: holds no video files; give videos or a folder that holds some")
        paths += found
    return Dataset("videos", "none", (0.0, 0.0), tuple(_numbered(dict.fromkeys(paths))))


def _numbered(paths: Iterable[Path]) -> Iterable[Video]:
    """Videos named by their file, numbered where names repeat."""
    seen: dict[str, int] = {}
    for path in paths:
        seen[path.stem] = seen.get(path.stem, 0) + 1
        name = path.stem if seen[path.stem] == 1 else f"{path.stem}-{seen[path.stem]}"
        yield Video(f"videos/{name}", path, float("nan"), name)


def study_frames(n_frames: int, rate: Fraction, limit: int, seconds: Seconds | None = None) -> tuple[int, ...]:
    """Indices of the frames that the study looks at: the last of each second, thinned evenly to a limit.

    A video shorter than a second gives its middle frame.
    """
    every = saliency_frames(n_frames, rate, seconds)
    return tuple(every[place] for place in spread(len(every), limit))


def spread(count: int, limit: int) -> tuple[int, ...]:
    """Places 0..count-1, or the middles of `limit` equal stretches of them if there are more."""
    return tuple((2 * k + 1) * count // (2 * limit) for k in range(limit)) if count > limit else tuple(range(count))


def _plan(limit: int, info: VideoInfo) -> Iterable[Piece]:
    return small_pieces(study_frames(info.n_frames, info.rate, limit, info.seconds), _FRAMES_PER_PIECE)


class StudyMaps(NetworkFamily):
    """The saliency map of each frame of the study.

    Args:
        saliency: the saliency family, whose settings, weights and code version count.
        limit: most frames of a video.
    """

    def __init__(self, saliency: Family, limit: int) -> None:
        source = saliency.spec
        settings = {name: value for name, value in source.settings.items() if name != "keep_maps"}
        own = {**settings, "frames": limit, "source": f"{source.family} {source.version}"}
        super().__init__(FeatureSpec("study_maps", 1, own, source.weights), partial(_plan, limit))
        self.saliency = saliency

    def forward(self, frames: Mapping[str, Tensor]) -> Any:  # noqa: ANN401 (what the saliency family returns)
        """Computes the maps of frames "rgb224" (T, 3, 224, 224)."""
        return self.saliency(frames)

    def pool(self) -> "_MapPool":
        """Starts the list of maps."""
        return _MapPool()


class _MapPool:
    """All maps of a video, and the column profile of their mean."""

    def __init__(self) -> None:
        self._mean, self._maps = MapMean(), list[Tensor]()

    def add(self, features: Any) -> None:  # noqa: ANN401
        self._mean.add(features.maps, features.is_empty)
        self._maps.append(features.maps.cpu())

    def result(self) -> dict[str, Tensor]:
        return {"video": self._mean.result(), "maps": torch.cat(self._maps)}


class StudyDeep(NetworkFamily):
    """The deep vector of each frame of the study, and whether the frame has colour.

    Source: Algorithm 1 of the paper, on the same 224 x 224 pixels that the saliency map explains; the public script
    shrinks the frame with Pillow's bilinear filter instead.

    Args:
        network: the network.
        facts: settings that identify it, in addition to its weights.
        limit: most frames of a video.
    """

    def __init__(self, network: CNN, facts: Mapping[str, str | bool], limit: int) -> None:
        spec = FeatureSpec("study_deep", 1, {**facts, "frames": limit}, network.trunk.checksum)
        super().__init__(spec, partial(_plan, limit))
        self.network = network

    def forward(self, frames: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Computes frames "rgb224" (T, 3, 224, 224) -> vectors (T, C), and (T,) bool: true without colour."""
        rgb = frames["rgb224"]
        low, high = rgb.aminmax(dim=1)
        is_grey = (high.float() - low.float()).mean((1, 2)) < _GREY_LEVELS
        with torch.inference_mode():
            return self.network(rgb), is_grey

    def pool(self) -> "_DeepPool":
        """Starts the list of vectors."""
        return _DeepPool()


class _DeepPool:
    """All vectors of a video."""

    def __init__(self) -> None:
        self._vectors, self._is_grey = list[Tensor](), list[Tensor]()

    def add(self, features: tuple[Tensor, Tensor]) -> None:
        self._vectors.append(features[0].cpu())
        self._is_grey.append(features[1].cpu())

    def result(self) -> dict[str, Tensor]:
        vectors = torch.cat(self._vectors)
        return {"video": vectors.double().mean(0), "frames": vectors, "is_grey": torch.cat(self._is_grey)}


@dataclass(frozen=True)
class NetworkFacts:
    """Facts about a network, for captions.

    Attributes:
        purpose: what it computes.
        name: torchvision's name.
        weights: name or file of the weights.
        checksum: SHA-256 over its parameters.
        remark: what else a reader must know, or empty.
    """

    purpose: str
    name: str
    weights: str
    checksum: str
    remark: str = ""

    @property
    def is_random(self) -> bool:
        """Whether the weights are random, so that the outputs mean nothing."""
        return self.weights.startswith("random:")


class StudyNetworks(NamedTuple):
    """The study's families and what is known of their networks."""

    saliency: Family
    maps: StudyMaps
    deep: StudyDeep
    facts: tuple[NetworkFacts, NetworkFacts]

    @property
    def families(self) -> dict[str, Family]:
        """The families by their name in the store."""
        return {"study_maps": self.maps, "study_deep": self.deep}


def build_study(settings: FamilySettings, network: DeepNetwork, limit: int) -> StudyNetworks:
    """Builds the networks of the study.

    Args:
        settings: settings of the feature families; only those of the networks matter.
        network: `complete`, or the network `as_published`, without the first normalisation, activation and pooling.
        limit: most frames of a video.

    Raises:
        ConfigError: if a setting cannot be used.
        WeightsError: if weights are missing or wrong.
    """
    settings = settings.with_precisions()
    kept = replace(settings, saliency=replace(settings.saliency, keep_maps=True))
    saliency = build_families(("saliency",), kept)["saliency"]
    deep, is_incomplete = settings.deep, network == "as_published"
    cnn = CNN(deep.backbone, deep.weights, exact_unless_asked(deep.precision), is_incomplete, settings.engine).eval()
    facts: dict[str, str | bool] = {"backbone": deep.backbone, "precision": deep.precision, "skip_stem": is_incomplete}
    remark = "without the first normalisation, activation and pooling, as published" if is_incomplete else ""
    source = settings.saliency
    method = "" if source.method == "exact" else f", approximate ({source.method})"
    family = StudyDeep(cnn, facts, limit)
    return StudyNetworks(
        saliency,
        StudyMaps(saliency, limit),
        family,
        (
            NetworkFacts("deep features", deep.backbone, deep.weights, family.spec.weights, remark),
            NetworkFacts(
                "saliency",
                source.backbone,
                source.weights,
                saliency.spec.weights,
                f"layer {saliency.spec.settings['layer']}{method}",
            ),
        ),
    )


def adopt_maps(networks: StudyNetworks, store: FeatureStore, paths: Iterable[Path], limit: int) -> int:
    """Takes maps that `extract` kept in the store (`keep_maps`) for the study, and counts the videos.

    A video or file that cannot be read is left to the extraction, which says why.
    """
    source, target = networks.saliency.spec, networks.maps.spec
    n_adopted = 0
    for path in paths:
        with contextlib.suppress(VideoError, StoreError):
            content = store.content(path)
            if store.has(target, content) or not store.has(source, content):
                continue
            maps = torch.from_numpy(store.get(source, content)["maps"])
            maps = maps[list(spread(len(maps), limit))]
            mean = MapMean()
            mean.add(maps, maps.amax((1, 2)) <= 0)
            store.put(target, content, {"video": mean.result().numpy(), "maps": maps.numpy()}, {"source": source.key})
            n_adopted += 1
    if n_adopted:
        log.info("maps of %d videos were in the store", n_adopted)
    return n_adopted
