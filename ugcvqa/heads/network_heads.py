"""Heads that are networks over the frames of a video, as plain arrays and values in a model file."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ugcvqa import untrusted
from ugcvqa.arrays import Array
from ugcvqa.deep.backbones import backbone_without_weights
from ugcvqa.deep.stages import stages_of
from ugcvqa.devices import float32_products
from ugcvqa.errors import CheckpointError, ConfigError
from ugcvqa.evaluation.metrics import Logistic
from ugcvqa.features.families import build_families
from ugcvqa.features.family import Family
from ugcvqa.features.rows import FRAME_ROWS, families_of
from ugcvqa.heads.end_to_end import Backbone, EndToEnd
from ugcvqa.heads.fitted import FittedHead, Parts
from ugcvqa.heads.gru import MOSLine, VSFAHead
from ugcvqa.samples.clips import FAMILY, ClipFamily, central_clip
from ugcvqa.settings.features import FamilySettings
from ugcvqa.settings.training import EndToEndSettings

_STAGES = "backbone.stages."
_WIDEST, _WIDEST_INPUT, _LONGEST = 8192, 65_536, 10_000  # of a stored head
Network = TypeVar("Network", VSFAHead, EndToEnd)


class _NetworkHead(FittedHead):
    """A network on the frames of a video, or on their features, and the line from its output to MOS."""

    sees_frames: ClassVar[bool] = True

    network: VSFAHead | EndToEnd
    line: MOSLine

    def predict(self, sequences: Sequence[npt.NDArray[Any]]) -> Array:
        """Maps the frame features (T, D), or clips (n, 3, H, W) uint8, of N videos to predicted MOS (N,)."""
        return self.line(_relative(self.network, sequences))

    def frame_scores(self, sequence: npt.NDArray[Any]) -> Array:
        """Maps the input of one video to what each of its T frames adds to the mean that is its MOS (T,)."""
        return self.line(_frame_scores(self.network, sequence))


@dataclass(frozen=True, eq=False)
class FittedGRU(_NetworkHead):
    """VSFA's GRU head: from the features of a video's frames to MOS.

    Attributes:
        network: in evaluation mode.
        line: brings its output to the MOS scale.
        logistic: map of predictions to MOS, fitted on training videos; `predict` does not apply it.
    """

    kind: ClassVar[str] = "gru"
    title: ClassVar[str] = "GRU"

    network: VSFAHead
    line: MOSLine
    logistic: Logistic

    def families(self, row: str, settings: FamilySettings) -> dict[str, Family]:
        """Builds the networks that give the frame features of a video."""
        return frame_families(row, settings)

    def input_of(self, row: str, features: Mapping[str, Mapping[str, npt.NDArray[Any]]]) -> npt.NDArray[Any]:
        """Picks the features (T, D) of a video's frames."""
        del row
        (arrays,) = features.values()
        return arrays["frames"]

    def _parts(self) -> Parts:
        values = {"tau": self.network.tau, "beta": self.network.beta, "line": asdict(self.line)}
        return {name: value.numpy() for name, value in self.network.state_dict().items()}, values

    @classmethod
    def _from_parts(cls, arrays: Mapping[str, npt.NDArray[Any]], values: Mapping[str, Any], logistic: Logistic) -> Self:
        sizes = _checked_gru(arrays)
        tau, beta = untrusted.whole(values["tau"], "tau", 1, _LONGEST), untrusted.number(values["beta"], "beta", 0, 1)
        return cls(_filled(VSFAHead(*sizes, tau, beta), arrays), _line(values), logistic)


@dataclass(frozen=True, eq=False)
class FittedEndToEnd(_NetworkHead):
    """An end-to-end network: from sampled frames of a video to MOS. Its file holds the weights of its backbone.

    Attributes:
        network: in evaluation mode.
        settings: how it is built and which frames it sees.
        line: brings its output to the MOS scale.
        logistic: map of predictions to MOS, fitted on training videos; `predict` does not apply it.
    """

    kind: ClassVar[str] = "end_to_end"
    title: ClassVar[str] = "end-to-end"

    network: EndToEnd
    settings: EndToEndSettings
    line: MOSLine
    logistic: Logistic

    def families(self, row: str, settings: FamilySettings) -> dict[str, Family]:
        """Builds the family that picks the frames."""
        del row, settings
        return {FAMILY: ClipFamily(self.settings.clip)}

    def input_of(self, row: str, features: Mapping[str, Mapping[str, npt.NDArray[Any]]]) -> npt.NDArray[Any]:
        """Picks the clip (n, 3, H, W) uint8 of a video."""
        del row
        return central_clip(features[FAMILY]["frames"], self.settings.clip.side)

    def to(self, device: str) -> Self:
        """The same head with its network on a device; the small network of a GRU head stays on the CPU."""
        return replace(self, network=self.network.to(device))

    def _parts(self) -> Parts:
        values = {"settings": asdict(self.settings), "line": asdict(self.line)}
        return {name: value.cpu().numpy() for name, value in self.network.state_dict().items()}, values

    @classmethod
    def _from_parts(cls, arrays: Mapping[str, npt.NDArray[Any]], values: Mapping[str, Any], logistic: Logistic) -> Self:
        settings = _end_to_end_settings(untrusted.mapping(values["settings"], "settings"))
        network = backbone_without_weights(settings.backbone)
        _fill_stages(network, settings, arrays)
        filled = _filled(build_end_to_end(settings, network, is_checked=True), arrays)
        return cls(filled, settings, _line(values), logistic)


def frame_families(row: str, settings: FamilySettings) -> dict[str, Family]:
    """Builds the frozen networks that give the features of single frames.

    Raises:
        ConfigError: if the row has none.
        WeightsError: if weights are missing or wrong.
    """
    if row not in FRAME_ROWS:
        raise ConfigError(f"row {row} has no features of single frames; a GRU head takes {', '.join(FRAME_ROWS)}")
    kept = replace(settings, deep=replace(settings.deep, keep_frames=True))
    return build_families(families_of(row), kept)


def _checked_gru(arrays: Mapping[str, npt.NDArray[Any]], prefix: str = "") -> tuple[int, int, int]:
    """Widths of the input, the linear map and the GRU, after a check that all arrays have their shapes."""
    reduced, width = arrays[f"{prefix}projection.weight"].shape
    _, hidden = arrays[f"{prefix}gru.weight_hh_l0"].shape
    if not (0 < reduced <= _WIDEST and 0 < hidden <= _WIDEST and 0 < width <= _WIDEST_INPUT):
        raise CheckpointError(f"it has {width} inputs, {reduced} outputs of the linear map and {hidden} units")
    shapes = {
        "projection.weight": (reduced, width),
        "projection.bias": (reduced,),
        "gru.weight_ih_l0": (3 * hidden, reduced),
        "gru.weight_hh_l0": (3 * hidden, hidden),
        "gru.bias_ih_l0": (3 * hidden,),
        "gru.bias_hh_l0": (3 * hidden,),
        "quality.weight": (1, hidden),
        "quality.bias": (1,),
    }
    for name, shape in shapes.items():
        untrusted.check_array(name, arrays[f"{prefix}{name}"], shape, "float32")
    return width, reduced, hidden


def _end_to_end_settings(values: dict[str, Any]) -> EndToEndSettings:
    """Settings from a model file, without those of its training."""
    kept = {key: value for key, value in values.items() if key not in ("recipe", "thaw_epochs")}
    settings = untrusted.settings(EndToEndSettings, {**kept, "clip": values["clip"]}, "settings")
    clip = settings.clip
    sizes = (clip.frames, clip.phases, clip.short_side, clip.crop, settings.tau)
    if max(*sizes, settings.reduced_dim, settings.hidden_dim) > _WIDEST:
        raise CheckpointError(f"one of its settings is larger than {_WIDEST}")
    return settings


def _fill_stages(network: torch.nn.Module, settings: EndToEndSettings, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Gives the stages that are used their weights, after a check that these are in the file, and no others."""
    stages = stages_of(network, settings.backbone)[: settings.stages or None]
    wanted = stages.state_dict()
    _checked_gru(arrays, "head.")
    held = {name.removeprefix(_STAGES): array for name, array in arrays.items() if name.startswith(_STAGES)}
    if held.keys() != wanted.keys():
        name = min(held.keys() ^ wanted.keys())
        raise CheckpointError(f"{_STAGES}{name[:50]} is {'missing' if name in wanted else 'no part of its backbone'}")
    for name, tensor in wanted.items():
        if tensor.ndim == 0 and held[name].size == 1:  # files hold a single number as a row of one
            held[name] = held[name].reshape(())
        array = held[name]
        if array.shape != tensor.shape or array.dtype.kind not in "fi" or not untrusted.is_bounded(array):
            raise CheckpointError(f"{_STAGES}{name} is not {tuple(tensor.shape)} finite numbers")
    stages.load_state_dict(
        {name: torch.from_numpy(np.array(held[name])).to(tensor.dtype) for name, tensor in wanted.items()}, assign=True
    )


def build_end_to_end(settings: EndToEndSettings, network: torch.nn.Module, is_checked: bool = False) -> EndToEnd:
    """Builds an end-to-end network on a classification network, with an untrained head.

    Args:
        settings: of the model.
        network: the classification network.
        is_checked: as for `end_to_end.Backbone`.
    """
    frozen = settings.frozen_stages
    backbone = Backbone(network, settings.backbone, frozen, settings.checkpointing, settings.stages, is_checked)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.recipe.seed)
        head = VSFAHead(2 * backbone.width, settings.reduced_dim, settings.hidden_dim, settings.tau, settings.beta)
    return EndToEnd(backbone, head)


@float32_products()
@torch.inference_mode()
def _relative(network: VSFAHead | EndToEnd, sequences: Sequence[npt.NDArray[Any]]) -> Array:
    """Relative scores (N,), one video after the other, so that memory does not grow with their number."""
    scores = []
    for sequence in sequences:
        frames = _on_device(network, sequence)
        scores.append(network(frames, (len(frames),)).double().cpu())
    return torch.cat(scores).numpy() if scores else np.empty(0)


@float32_products()
@torch.inference_mode()
def _frame_scores(network: VSFAHead | EndToEnd, sequence: npt.NDArray[Any]) -> Array:
    frames = _on_device(network, sequence)
    scores: Array = network.frame_scores(frames, (len(frames),))[0].double().cpu().numpy()
    return scores


def _on_device(network: VSFAHead | EndToEnd, sequence: npt.NDArray[Any]) -> Tensor:
    frames: Tensor = torch.from_numpy(np.ascontiguousarray(sequence)).to(next(network.parameters()).device)
    return frames.float() if frames.is_floating_point() else frames


def _line(values: Mapping[str, Any]) -> MOSLine:
    return untrusted.settings(MOSLine, values["line"], "line")


def _filled(network: Network, arrays: Mapping[str, npt.NDArray[Any]]) -> Network:
    network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
    return network.eval().requires_grad_(False)
