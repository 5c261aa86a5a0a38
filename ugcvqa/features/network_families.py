"""Feature families that are frozen networks, in plain torch; `models/extractor.py` adds Lightning's Trainer."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import cache, partial
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from ugcvqa.deep.backbones import load_backbone, weights_checksum
from ugcvqa.deep.frame_mean import FrameMean
from ugcvqa.deep.imagenet import normalise
from ugcvqa.deep.pooling import CNN, VSFA
from ugcvqa.deep.precision import exact_unless_asked
from ugcvqa.deep.saliency import KnownMaps, MapMean, add_map
from ugcvqa.deep.scorecam import SaliencyMaps, ScoreCAM
from ugcvqa.deep.stages import StageStatistics
from ugcvqa.deep.taps import check_layer
from ugcvqa.deep.trunks import last_maps_layer
from ugcvqa.features.family import Family, Pool, check_chunks
from ugcvqa.features.store import FeatureSpec
from ugcvqa.media import sampling
from ugcvqa.media.sampling import Piece
from ugcvqa.media.video import Plan, VideoInfo
from ugcvqa.nss.maps import yuv_to_rgb
from ugcvqa.settings.features import DeepSettings, FamilySettings, SaliencySettings
from ugcvqa.uvq.frames import uvq_pieces
from ugcvqa.uvq.networks import GROUP_FRAMES, UVQ10, UVQ15
from ugcvqa.uvq.pool import Seconds, SecondsMean, uvq10_seconds, uvq15_seconds
from ugcvqa.uvq.weights import load_weights

_PIECE_PIXELS = 2**21  # of full-size RGB frames served at once: one frame of 1080p, at most 32 small ones
_SMALL_FRAMES = 8
_UVQ_SECONDS, _UVQ_FRAMES = 4, 8  # of frames served at once: about 50 MiB


class NetworkFamily(nn.Module, Family):
    """A frozen network as a family."""

    takes_tensors = True

    def __init__(self, spec: FeatureSpec, plan: Plan) -> None:
        nn.Module.__init__(self)
        self.spec, self.plan = spec, plan

    @torch.inference_mode()
    def __call__(self, frames: Mapping[str, Tensor]) -> Any:  # noqa: ANN401 (what its pool takes)
        """Computes the features of one piece by `forward`."""
        return nn.Module.__call__(self, frames)

    def on(self, device: str) -> Self:
        """Moves the network to a device."""
        return self.to(device)


class CNNFamily(NetworkFamily):
    """Global averages of a frozen network on chunk centres squashed to 224 x 224 (row CNN)."""

    is_per_frame = True
    forms = ("y", "u", "v")

    def __init__(self, settings: FamilySettings, network: CNN) -> None:
        # this family keeps no frames, so asking for those of others does not rename it
        alone = replace(settings, deep=replace(settings.deep, keep_frames=False))
        super().__init__(_deep_spec("cnn", self.version, alone, network.trunk.checksum), cnn_plan)
        self.network = network

    def forward(self, frames: Mapping[str, Tensor]) -> Tensor:
        """Computes chunk centres: planes "y", "u", "v" -> (T, C)."""
        features: Tensor = self.network(yuv_to_rgb(frames["y"], frames["u"], frames["v"], "bt601"))
        return features

    def pool(self) -> Pool:
        """Starts the mean over chunks."""
        return FrameMean(self.network.trunk)


class VSFACNNFamily(NetworkFamily):
    """VSFA's content-aware features of every frame at full resolution (row VSFACNN), or of one small frame a second.

    The small frames are those of VSFACNN_SALIENCY without the map: the control row VSFACNN_224.
    """

    is_per_frame = True

    def __init__(self, name: str, settings: FamilySettings, network: VSFA) -> None:
        plan = every_frame_plan if name == "vsfacnn" else partial(small_plan, sampling.fused_frames)
        super().__init__(_deep_spec(name, self.version, settings, network.trunk.checksum), plan)
        self.network, self.keep_frames = network, settings.deep.keep_frames
        self.forms = ("rgb",) if name == "vsfacnn" else ("rgb224",)

    def forward(self, frames: Mapping[str, Tensor]) -> Tensor:
        """Computes frames "rgb" (T, 3, H, W) or "rgb224" (T, 3, 224, 224) -> (T, 2C)."""
        features: Tensor = self.network(frames[self.forms[0]])
        return features

    def pool(self) -> Pool:
        """Starts the mean over frames."""
        return FrameMean(self.network.trunk, self.keep_frames)


class StagesFamily(NetworkFamily):
    """Means and deviations of the stages of a frozen network, one frame of each second at its own size (row STAGES)."""

    is_per_frame = True
    forms = ("rgb",)

    def __init__(self, settings: FamilySettings) -> None:
        deep = settings.deep
        precision = exact_unless_asked(deep.precision)
        network = StageStatistics(deep.backbone, deep.weights, precision, deep.stages, settings.engine)
        values = {"backbone": deep.backbone, "precision": deep.precision, "stages": ",".join(map(str, network.chosen))}
        name = "_".join(["stages", *_others(deep)])
        super().__init__(FeatureSpec(name, self.version, values, network.checksum), centre_plan)
        self.network = network

    def forward(self, frames: Mapping[str, Tensor]) -> Tensor:
        """Computes frames "rgb" (T, 3, H, W) -> (T, D)."""
        features: Tensor = self.network(frames["rgb"])
        return features

    def pool(self) -> Pool:
        """Starts the mean over the seconds."""
        return FrameMean(self.network)


class SaliencyFamily(NetworkFamily):
    """Score-CAM saliency of the last frame of each second (row SALIENCY)."""

    is_per_frame = True
    forms = ("rgb224",)

    def __init__(self, settings: FamilySettings, cam: ScoreCAM, checksum: str, known: KnownMaps) -> None:
        saliency = settings.saliency
        values = {**_kept(saliency, "weights", "memory_mib"), "layer": cam.layer}
        spec = FeatureSpec("_".join(["saliency", *_others(saliency)]), self.version, values, checksum)
        super().__init__(spec, partial(small_plan, sampling.saliency_frames))
        self.cam, self.keep_maps, self.known = cam, saliency.keep_maps, known

    def forward(self, frames: Mapping[str, Tensor]) -> SaliencyMaps:
        """Computes the maps of frames "rgb224" (T, 3, 224, 224)."""
        return self.known(self.cam, normalise(frames["rgb224"]))

    def rows(self, features: SaliencyMaps) -> Tensor:
        """The maps (T, 224, 224)."""
        return features.maps

    def pool(self) -> Pool:
        """Starts the mean over maps."""
        return _MapPool(self.keep_maps)


class FusedFamily(NetworkFamily):
    """VSFA features of small frames with their saliency map added to the network's input (row VSFACNN_SALIENCY)."""

    is_per_frame = True
    forms = ("rgb224",)

    def __init__(
        self, settings: FamilySettings, network: VSFA, cam: ScoreCAM, cam_checksum: str, known: KnownMaps
    ) -> None:
        values = {
            **_kept(settings.deep, "weights", "stages"),
            **{f"saliency_{k}": v for k, v in _kept(settings.saliency, "weights", "memory_mib", "keep_maps").items()},
            "saliency_layer": cam.layer,
        }
        name = "_".join(["vsfacnn_saliency", *_others(settings.deep), *_others(settings.saliency)])
        spec = FeatureSpec(name, self.version, values, f"{network.trunk.checksum} {cam_checksum}")
        super().__init__(spec, partial(small_plan, sampling.fused_frames))
        self.network, self.cam, self.known, self.keep_frames = network, cam, known, settings.deep.keep_frames

    def forward(self, frames: Mapping[str, Tensor]) -> Tensor:
        """Computes frames "rgb224" (T, 3, 224, 224) -> (T, 2C)."""
        normalised = normalise(frames["rgb224"])
        return self.network.forward_normalised(add_map(normalised, self.known(self.cam, normalised).maps))

    def pool(self) -> Pool:
        """Starts the mean over frames."""
        return FrameMean(self.network.trunk, self.keep_frames)


class UVQFamily(NetworkFamily):
    """UVQ's own scores, with its feature maps pooled over space and time for heads of our own (rows with UVQ)."""

    def __init__(self, name: Literal["uvq", "uvq15"], settings: FamilySettings) -> None:
        uvq = settings.uvq
        is_uvq10 = name == "uvq"
        weights = load_weights("uvq10" if is_uvq10 else "uvq15", uvq.weights)
        values = _kept(uvq, "weights", *(["fps"] if is_uvq10 else []))
        form = ("fit496", "fit720", _UVQ_SECONDS) if is_uvq10 else (None, "stretch1080", _UVQ_FRAMES)
        fps, length = (GROUP_FRAMES, GROUP_FRAMES) if is_uvq10 else (uvq.fps, 1)
        plan = partial(uvq_pieces, uvq.sampler, uvq.counting, fps, length, *form)
        super().__init__(FeatureSpec(name, self.version, values, weights.checksum), plan)
        self.network = UVQ10(weights, settings.engine) if is_uvq10 else UVQ15(weights, settings.engine)
        self.checksums, self.topics, self.keep_frames = weights.checksums, weights.topics, uvq.keep_frames

    def forward(self, frames: Mapping[str, Tensor]) -> Seconds:
        """Computes the groups of frames of one piece, see `frames.uvq_pieces`."""
        network = self.network
        return uvq10_seconds(network, frames) if isinstance(network, UVQ10) else uvq15_seconds(network, frames)

    def rows(self, features: Seconds) -> Tensor:
        """Pooled feature maps (groups, D)."""
        return features.outputs.features

    def pool(self) -> Pool:
        """Starts the mean over groups."""
        return SecondsMean(self.keep_frames)


class _MapPool:
    """The mean map's column profile, the number of frames without a map, and on request the maps."""

    def __init__(self, keep: bool) -> None:
        self._mean, self._kept, self._keep = MapMean(), list[Tensor](), keep

    def add(self, features: SaliencyMaps) -> None:
        self._mean.add(features.maps, features.is_empty)
        if self._keep:
            self._kept.append(features.maps.cpu())

    def result(self) -> dict[str, Tensor]:
        kept = {"maps": torch.cat(self._kept)} if self._keep else {}
        return {"video": self._mean.result(), "n_empty": torch.tensor(self._mean.n_empty), **kept}


def cnn_plan(info: VideoInfo) -> Iterator[Piece]:
    """Yields one piece per chunk centre.

    Raises:
        VideoError: if the video holds no chunk.
    """
    check_chunks("CNN", info)
    yield from sampling.cnn_pieces(info.n_frames, info.rate, info.seconds)


def centre_plan(info: VideoInfo) -> Iterator[Piece]:
    """Yields the centre frame of each second."""
    return sampling.centre_pieces(info.n_frames, info.rate, info.seconds)


def every_frame_plan(info: VideoInfo) -> Iterator[Piece]:
    """Yields all frames, more at a time the smaller they are."""
    frames_per_piece = max(1, min(32, _PIECE_PIXELS // (info.height * info.width)))
    return sampling.every_frame_pieces(info.n_frames, frames_per_piece)


def small_plan(choice: Callable[..., Iterable[int]], info: VideoInfo) -> Iterator[Piece]:
    """Yields the small frames that `sampling.saliency_frames` or `sampling.fused_frames` chooses."""
    return sampling.small_pieces(choice(info.n_frames, info.rate, info.seconds), _SMALL_FRAMES)


def build_networks(names: tuple[str, ...], settings: FamilySettings) -> dict[str, NetworkFamily]:
    """Builds the frozen networks of the named families, in evaluation mode; networks in common are built once.

    Raises:
        WeightsError: if weights are missing or wrong.
        ConfigError: if a setting cannot be used.
    """
    settings = settings.with_precisions()  # no key in the store may say `auto`
    deep, saliency = settings.deep, settings.saliency

    @cache
    def vsfa() -> VSFA:
        return VSFA(deep.backbone, deep.weights, exact_unless_asked(deep.precision), settings.engine)

    @cache
    def cam() -> tuple[ScoreCAM, str, KnownMaps]:
        network = load_backbone(saliency.backbone, saliency.weights)
        if saliency.layer:
            check_layer(network, saliency.layer, sampling.SMALL_SIDE_PX)
        found = ScoreCAM(
            network,
            saliency.layer or last_maps_layer(network, saliency.backbone),
            memory_mib=saliency.memory_mib,
            precision=exact_unless_asked(saliency.precision),
            method=saliency.method,
            engine=settings.engine,
        )
        return found, weights_checksum(found), KnownMaps()

    builders: dict[str, Callable[[], NetworkFamily]] = {
        "cnn": lambda: CNNFamily(settings, CNN(vsfa().trunk)),
        "vsfacnn": lambda: VSFACNNFamily("vsfacnn", settings, vsfa()),
        "saliency": lambda: SaliencyFamily(settings, *cam()),
        "vsfacnn_saliency": lambda: FusedFamily(settings, vsfa(), *cam()),
        "vsfacnn_224": lambda: VSFACNNFamily("vsfacnn_224", settings, vsfa()),
        "stages": lambda: StagesFamily(settings),
        "uvq": lambda: UVQFamily("uvq", settings),
        "uvq15": lambda: UVQFamily("uvq15", settings),
    }
    return {name: builders[name]().eval() for name in names}


def _deep_spec(family: str, version: int, settings: FamilySettings, checksum: str) -> FeatureSpec:
    name = "_".join([family, *_others(settings.deep)])
    return FeatureSpec(name, version, _kept(settings.deep, "weights", "stages"), checksum)


def _others(settings: DeepSettings | SaliencySettings) -> list[str]:
    """The network's name, if it is not the paper's."""
    return [] if settings.backbone == type(settings).backbone else [settings.backbone]


def _kept(settings: Any, *dropped: str) -> dict[str, Any]:  # noqa: ANN401 (any settings dataclass)
    """Settings that change the numbers; weights count by their checksum, not by their name."""
    return {key: value for key, value in asdict(settings).items() if key not in dropped}
