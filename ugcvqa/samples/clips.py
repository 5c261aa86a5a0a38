"""Sampled frames for end-to-end models: a family of the store that keeps pictures, and training samples from it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from ugcvqa.errors import StoreError
from ugcvqa.features.network_families import NetworkFamily
from ugcvqa.features.store import FeatureSpec
from ugcvqa.files import error_reason
from ugcvqa.media.sampling import Piece
from ugcvqa.media.video import VideoInfo, probe
from ugcvqa.samples.batches import FIXED, Batch, Draw
from ugcvqa.settings.training import FRAGMENTS, PATCH_PX, ClipSettings

FAMILY = "clip"
"""Name of the family in the store."""

VERSION = 3
"""Code version of the family; raise it whenever its pictures change."""


class ClipFamily(NetworkFamily):
    """The frames that end-to-end models see, resized or cut to fragments, kept as pictures.

    It is not a network, but like one it states which frames it needs, so they come from the same decode pass, survive
    interruptions and are made by any number of processes. Cutting the training crops is left to `ClipSource`.
    """

    is_light = True

    def __init__(self, settings: ClipSettings) -> None:
        values = {key: value for key, value in asdict(settings).items() if key != "crop" or settings.view == "crop"}
        super().__init__(FeatureSpec(FAMILY, VERSION, values), partial(clip_plan, settings.frames, settings.phases))
        self.settings = settings

    def forward(self, frames: Mapping[str, Tensor]) -> Tensor:
        """Prepares one stretch: frames "shown" (phases, 3, H, W) uint8 -> (phases, 3, h, w) uint8."""
        if self.settings.view == "crop":
            return resize_short_side(frames["shown"], self.settings.short_side, self.settings.crop)
        whole = resize_short_side(frames["shown"], 0, FRAGMENTS * PATCH_PX)
        return torch.stack([cut_fragments(frame, variant) for variant, frame in enumerate(whole)])

    def pool(self) -> "_ClipPool":
        """Starts the collection of one video."""
        return _ClipPool()


class _ClipPool:
    """Collects the stretches of a video: `frames` (n, phases, 3, h, w) uint8."""

    def __init__(self) -> None:
        self._stretches: list[Tensor] = []

    def add(self, features: Tensor) -> None:
        self._stretches.append(features.cpu())

    def result(self) -> dict[str, Tensor]:
        return {"frames": torch.stack(self._stretches)}


def clip_plan(frames: int, phases: int, info: VideoInfo) -> Iterator[Piece]:
    """Yields one piece per stretch of time, with frames in the middle of each of its equal parts.

    Args:
        frames: number of stretches, all of one length.
        phases: frames of each stretch.
        info: the video; where it has fewer than frames * phases frames, some come repeatedly.
    """
    for stretch in range(frames):
        places = [Fraction(2 * (stretch * phases + phase) + 1, 2 * frames * phases) for phase in range(phases)]
        yield Piece({"shown": tuple(_frame_at(place, info) for place in places)})


def clip_times(frames: int, phases: int, info: VideoInfo) -> npt.NDArray[np.float64]:
    """Times (frames, phases) of what `clip_plan` takes of a video, in seconds as its time stamps have them."""
    shown = [piece.frames["shown"] for piece in clip_plan(frames, phases, info)]
    return np.asarray(info.start_s + info.times_s[np.array(shown)], dtype=np.float64)


def _frame_at(place: Fraction, info: VideoInfo) -> int:
    """The frame at a place between the start (0) and the end (1) of a video."""
    if info.seconds is None:
        return int(place * info.n_frames)
    return int(np.searchsorted(info.times_s, float(place) * info.end_s, side="right")) - 1


def resize_short_side(rgb: Tensor, short_side: int, least: int) -> Tensor:
    """Resizes frames so that their shorter side has a given length; the aspect ratio stays.

    Args:
        rgb: (T, 3, H, W) uint8.
        short_side: wanted length in pixels; 0 keeps the size.
        least: shorter sides below this are enlarged to it in any case, in pixels.

    Returns:
        (T, 3, h, w) uint8, bilinear with antialiasing.
    """
    height, width = rgb.shape[2:]
    wanted = max(short_side or min(height, width), least)
    scale = wanted / min(height, width)
    if scale == 1:
        return rgb
    size = [wanted if side == min(height, width) else round(side * scale) for side in (height, width)]
    resized = functional.interpolate(rgb.float(), size=size, mode="bilinear", antialias=True, align_corners=False)
    return resized.round_().clamp_(0, 255).to(torch.uint8)


def cut_fragments(rgb: Tensor, variant: int) -> Tensor:
    """Joins small patches of a frame, cut at native resolution from a 7 x 7 grid, to one picture.

    Source: FAST-VQA (Wu et al., 2022), section 3.1, and its public code: 32 x 32 patches at random places in the
    cells, the same in all frames of a clip.

    Args:
        rgb: (3, H, W) uint8, H and W at least 224.
        variant: seeds the places.

    Returns:
        (3, 224, 224) uint8.
    """
    _, height, width = rgb.shape
    places = np.random.default_rng(variant).random((2, FRAGMENTS, FRAGMENTS))
    rows = []
    for i in range(FRAGMENTS):
        row = []
        for j in range(FRAGMENTS):
            top = i * height // FRAGMENTS + int(places[0, i, j] * (height // FRAGMENTS - PATCH_PX + 1))
            left = j * width // FRAGMENTS + int(places[1, i, j] * (width // FRAGMENTS - PATCH_PX + 1))
            row.append(rgb[:, top : top + PATCH_PX, left : left + PATCH_PX])
        rows.append(torch.cat(row, 2))
    return torch.cat(rows, 1)


def central_clip(stored: npt.NDArray[np.uint8], crop: int) -> npt.NDArray[np.uint8]:
    """Takes what validation and scoring see: the middle phase, and the central crop.

    Args:
        stored: (n, phases, 3, h, w) uint8 as the family keeps it.
        crop: side of the crop in pixels; larger than a picture takes it whole.

    Returns:
        (n, 3, crop, crop) uint8.
    """
    top, left = (max(0, (side - crop) // 2) for side in stored.shape[3:])
    return stored[:, stored.shape[1] // 2, :, top : top + crop, left : left + crop]


class ClipSource(Dataset[tuple[int, Tensor, Tensor | None]]):
    """Serves training clips from stored pictures: a random phase, crop and flip in training, the central one else.

    What is random depends on seed, epoch and video alone, not on the process that makes the sample.

    Args:
        files: one file of the store per row of the data set.
        mos: (N,) labels.
        settings: of the clips.
        seed: of the randomness.
        videos: id and file of each row; batches then have ids, and the times of the frames.
    """

    is_in_memory = False

    def __init__(
        self,
        files: Sequence[Path],
        mos: npt.NDArray[np.float64],
        settings: ClipSettings,
        seed: int,
        videos: Sequence[tuple[str, Path]] = (),
    ) -> None:
        self.files, self.mos, self.settings, self.seed = list(files), torch.from_numpy(mos), settings, seed
        self.videos, self._times = list(videos), dict[int, npt.NDArray[np.float64]]()

    def place(self, device: torch.device) -> None:
        """Pictures stay on disk whatever the device."""

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, draw: Draw) -> tuple[int, Tensor, Tensor | None]:
        """Reads one clip, only the bytes that are needed: row, (n, 3, h, w) uint8, and the times (n,) of its frames."""
        from safetensors import SafetensorError, safe_open

        path = self.files[draw.row]
        try:
            with safe_open(path, framework="np") as file:
                stored = file.get_slice("frames")
                phase, top, left, flips = self._place_of(draw, stored.get_shape())
                side = self.settings.side
                clip = stored[:, phase, :, top : top + side, left : left + side]
        except (OSError, SafetensorError) as error:
            raise StoreError(f"{path}: cannot be read ({error_reason(error)}); delete it and run again") from error
        clip = clip[..., ::-1] if flips else clip
        return draw.row, torch.from_numpy(np.ascontiguousarray(clip)), self._times_of(draw.row, phase)

    def collate(self, samples: Sequence[tuple[int, Tensor, Tensor | None]]) -> Batch:
        """Lays the frames of the clips end to end."""
        rows, clips, times = zip(*samples, strict=True)
        index = torch.tensor(rows)
        ids = tuple(self.videos[row][0] for row in rows) if self.videos else ()
        times_s = torch.cat(times) if self.videos else None
        return Batch(index, self.mos[index], torch.cat(clips), tuple(len(clip) for clip in clips), ids, times_s)

    def _times_of(self, row: int, phase: int) -> Tensor | None:
        if not self.videos:
            return None
        if row not in self._times:
            info = probe(self.videos[row][1])
            self._times[row] = clip_times(self.settings.frames, self.settings.phases, info)
        return torch.from_numpy(self._times[row][:, phase])

    def _place_of(self, draw: Draw, shape: Sequence[int]) -> tuple[int, int, int, bool]:
        """Phase, top, left and flip of a draw."""
        _, phases, _, height, width = shape
        free = (max(0, height - self.settings.side), max(0, width - self.settings.side))
        if draw.epoch == FIXED:
            return phases // 2, free[0] // 2, free[1] // 2, False
        random = np.random.default_rng([self.seed, draw.epoch, draw.row])
        top, left = (int(random.integers(room + 1)) for room in free)
        return int(random.integers(phases)), top, left, bool(random.integers(2))
