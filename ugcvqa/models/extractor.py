"""Base class of the feature extractors: a LightningModule around frozen feature families."""

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from ugcvqa.datamodules.sampling import Pieces
from ugcvqa.deep.kept_memory import give_back_freed_memory
from ugcvqa.devices import float32_products, use_float32_products
from ugcvqa.errors import CheckpointError, ConfigError
from ugcvqa.features.computing import compute
from ugcvqa.features.extraction import Assembler, VideoResult, assemble
from ugcvqa.features.family import Family
from ugcvqa.features.store import FeatureStore
from ugcvqa.features.stream import Item
from ugcvqa.samples.batches import Batch
from ugcvqa.scoring.frames_in_memory import memory_items

log = logging.getLogger(__name__)

_ITEMS_BETWEEN_TRIMS = 64  # holes between kept arrays would otherwise add up over a long video
_SPECS = "feature_specs"  # key of what we add to a checkpoint


class VideoFeatures:
    """The features of one video, as `Trainer.predict` gives them.

    Attributes:
        video_id: of the video.
        mos: its label, NaN where there is none.
        reason: why the video has no features; empty if it has.
        warnings: what makes its features doubtful, one plain sentence each.
        result: what the `extract` verb stores.
    """

    def __init__(
        self, item: Item, result: VideoResult, families: Mapping[str, Family], store: FeatureStore | None
    ) -> None:
        self.video_id, self.mos, self.reason, self.warnings = item.video_id, item.mos, result.reason, result.warnings
        self.result, self._store = result, store
        self._specs = {name: family.spec for name, family in families.items()}

    @cached_property
    def features(self) -> dict[str, dict[str, Tensor]]:
        """Family -> its tensors by name: `video` (D,) float64, and what else its settings ask to keep."""
        found = dict(self.result.features)
        for name in self.result.stored if self._store else ():
            found[name] = self._store.get(self._specs[name], self.result.content)  # type: ignore[union-attr]
        return {
            name: {key: torch.from_numpy(values.copy()) for key, values in found[name].items()}
            for name in self._specs
            if name in found
        }

    @property
    def video(self) -> Tensor | None:
        """The video vector (D,) float64, of several families end to end; None if the video failed."""
        vectors = [tensors["video"] for tensors in self.features.values()]
        return torch.cat(vectors) if vectors else None

    @property
    def frames(self) -> Tensor | None:
        """The features of the frames (T, D), of an extractor that keeps these; else None."""
        kept = [tensors["frames"] for tensors in self.features.values() if "frames" in tensors]
        return kept[0] if len(kept) == 1 else None

    def to(self, *_: object, **__: object) -> "VideoFeatures":
        """The same: features are on the CPU (Lightning calls this for what `predict` returns)."""
        return self

    def __repr__(self) -> str:
        if self.reason:
            return f"VideoFeatures({self.video_id}: {self.reason})"
        shapes = (
            f"{name} {key} {tuple(values.shape)}"
            for name, kept in self.features.items()
            for key, values in kept.items()
        )
        return f"VideoFeatures({self.video_id}: {', '.join(shapes)})"


class Extractor(LightningModule):
    """Computes the features of feature families, all in one pass over each video; nothing in it is trained.

    `Trainer.predict(extractor, data)` gives one `VideoFeatures` for each video, in the order in which they are done.
    The classes of `extractors` are for one family each and have constructors of plain values.

    Args:
        families: the feature families.
    """

    def __init__(self, families: Mapping[str, Family]) -> None:
        super().__init__()
        self.families = dict(families)
        # what Lightning moves to a device
        self.networks = nn.ModuleList(family for family in families.values() if isinstance(family, nn.Module))
        self._family, self._items = "", 0  # that computed last, and items since memory was given back
        self._assembler = Assembler(self.families)

    @property
    def sampling(self) -> Pieces:
        """What a data module has to serve: the pieces that the families take of each video."""
        return Pieces(self.families)

    def setup(self, stage: str) -> None:
        """Sets the arithmetic in every process that Lightning starts."""
        del stage
        use_float32_products()

    def on_predict_start(self) -> None:
        """Discards videos that an earlier run left unfinished."""
        self._assembler = Assembler(self.families)

    def predict_step(self, batch: Sequence[Item] | Batch | Tensor, batch_idx: int) -> Any:  # noqa: ANN401
        """Computes the pieces of a batch and returns the videos that are complete; of frames, what `forward` gives."""
        del batch_idx
        if isinstance(batch, Batch | Tensor):
            return self(batch)
        data: Any = getattr(self._trainer, "datamodule", None)
        store = getattr(data, "feature_store", None)
        results = list(assemble(self._assembler, batch, self.computed(batch)))
        ends = [item for item in batch if not item.family]
        return [VideoFeatures(end, result, self.families, store) for end, result in zip(ends, results, strict=True)]

    def on_predict_epoch_end(self) -> None:
        """Flattens the predictions of all batches into one list."""
        if self.trainer.predict_loop.num_dataloaders > 1:
            return
        found = self.trainer.predict_loop.predictions
        found[:] = chain.from_iterable(each if isinstance(each, list) else [each] for each in found)
        for video in found:
            if getattr(video, "reason", ""):
                log.warning("%s: %s", video.video_id, video.reason)

    @float32_products()
    def forward(self, batch: Sequence[Item] | Batch | Tensor, fps: float = 30.0) -> Any:  # noqa: ANN401 (see below)
        """Computes the features of a batch of pieces or of clips, or of the frames of one video.

        Args:
            batch: pieces, as the data modules serve them to extractors; clips of sampled frames, as they serve them
                without a Trainer; or frames (T, 3, H, W) or (T, H, W, 3) of one video, or (B, T, ...) of several,
                uint8 RGB or floating numbers from 0 to 1.
            fps: frames per second of plain frames; of no influence where each frame is looked at alone.

        Returns:
            Of pieces, a list with the features of each: (rows, D) tensors, or None where a piece ends a video. Of
            frames (rows, D): a row for each frame where extractors look at frames alone, else for each second. Rows
            of saliency are maps (224, 224). Several families give a dict by name. Of several clips, a list of these.

        Raises:
            VideoError: if frames are unsuitable, such as too few for one second.
            ConfigError: if features that need consecutive frames are asked of sampled ones.
        """
        if isinstance(batch, Batch):
            return [self._of_frames(clip, fps) for clip in self._sampled(batch)]
        if isinstance(batch, Tensor):
            return [self._of_frames(clip, fps) for clip in batch] if batch.ndim == 5 else self._of_frames(batch, fps)
        return [
            None if values is None else self._rows(item.family, values)
            for item, values in zip(batch, self.computed(batch), strict=True)
        ]

    def computed(self, batch: Sequence[Item]) -> list[Any]:
        """Features of each piece as its family gives them, or the error in their place; None at the end of a video."""
        return [features for item in batch for features in self._compute(item)]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what the features are."""
        checkpoint[_SPECS] = {name: family.spec.to_json() for name, family in self.families.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Checks that this extractor is the one of the checkpoint.

        Raises:
            CheckpointError: if its settings or weights are others.
        """
        for name, family in self.families.items():
            if checkpoint.get(_SPECS, {}).get(name) != family.spec.to_json():
                raise CheckpointError(f"{name}: the checkpoint is of an extractor with other settings or weights")

    def _of_frames(self, frames: Tensor, fps: float) -> Tensor | dict[str, Tensor]:
        rows: dict[str, list[Tensor]] = {name: [] for name in self.families}
        for item in memory_items(frames, fps, self.families):
            here = item if self.families[item.family].is_light else item.to(self.device)
            (values,) = compute(self.families, [here])
            rows[item.family].append(self._rows(item.family, values))
        joined = {name: torch.cat(parts) for name, parts in rows.items()}
        return joined if len(joined) > 1 else joined[next(iter(joined))]

    def _sampled(self, batch: Batch) -> Sequence[Tensor]:
        """The frames of each clip."""
        for name, family in self.families.items():
            if not family.forms:
                raise ConfigError(f"{name} features need consecutive frames, not sampled ones; use Trainer.predict")
        clips: tuple[Tensor, ...] = batch.frames.split(list(batch.lengths))
        return clips

    def _rows(self, family: str, values: Any) -> Tensor:  # noqa: ANN401 (what the family computes)
        if isinstance(values, Exception):
            raise values
        rows = self.families[family].rows(values)
        return rows if isinstance(rows, Tensor) else torch.from_numpy(rows)

    def _compute(self, item: Item) -> list[Any]:
        self._items += 1
        if item.family and (item.family != self._family or self._items >= _ITEMS_BETWEEN_TRIMS):
            give_back_freed_memory()
            self._family, self._items = item.family, 0
        return compute(self.families, [item])
