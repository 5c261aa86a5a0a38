"""What the saliency study measures on each video, kept in one file per video so that a killed run resumes.

A file is named by the content of the video and holds a key of everything else its numbers depend on.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ugcvqa.datasets.catalogue import Dataset, Video
from ugcvqa.deep.imagenet import normalise
from ugcvqa.errors import StoreError, UgcvqaError
from ugcvqa.features.network_families import SaliencyFamily
from ugcvqa.features.store import FeatureStore
from ugcvqa.files import arrays_from_file, arrays_to_bytes, error_reason, write_atomic
from ugcvqa.media.sampling import rounded_rate
from ugcvqa.media.video import VideoInfo, probe, read_frames
from ugcvqa.progress import progress_bar
from ugcvqa.settings.data import DecodeLimits
from ugcvqa.settings.study import MeasureSettings
from ugcvqa.studies.cosine import permuted_cosine, shrink_maps, window_cosine
from ugcvqa.studies.frames import StudyNetworks, spread, study_frames
from ugcvqa.studies.map_quality import centre_map, map_energy, pixel_curves, shifted_map

ORDERS = ("map", "shifted map", "centre")
"""Orders in which pixels are deleted and inserted: the map's; the same shape elsewhere; from the middle."""

PREDICTED_SIDE = 14
"""Rows and columns of the maps that the tests predict: the size at which Score-CAM of VGG-16 makes them."""

_VERSION = 1  # raised whenever the numbers change


@dataclass(frozen=True)
class VideoMeasures:
    """Everything the study keeps of one video.

    Attributes:
        video_id: id in the data set.
        path: the file.
        facts: width, height, frames, rate and duration of the video, and whether it is shorter than a second.
        arrays: by name, T frames, S of them sampled for the tests, Q of them with curves:
            frame_index (T,), cosine (T,), permuted (T,), is_empty (T,), is_grey (T,), centre, half_area and entropy
            (T,) of `map_energy`, sampled (S,) places of the sample, deep (S, D), shrunk (S, side, side), coarse
            (S, 14, 14), columns (S, 224), curve_place (Q,), curve_class (Q,), curves (Q, 3, 2, steps + 1) with the
            orders of `ORDERS`, deletion first.
    """

    video_id: str
    path: str
    facts: Mapping[str, Any]
    arrays: Mapping[str, npt.NDArray[Any]]

    @property
    def data(self) -> str:
        """Data set of the video: the part of its id before the slash."""
        return self.video_id.split("/", 1)[0]


@dataclass(frozen=True)
class Measurement:
    """How videos are measured, and where what was measured is kept: one file per video, named by its content.

    Attributes:
        networks: the study's networks.
        store: holds maps and deep vectors.
        folder: where measures are kept.
        settings: what is measured.
        limits: bounds on what is decoded.
        device: where the network of the curves runs.
    """

    networks: StudyNetworks
    store: FeatureStore
    folder: Path
    settings: MeasureSettings
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    device: str = "cpu"

    def of(self, dataset: Dataset, failures: dict[str, str]) -> Iterator[VideoMeasures]:
        """Yields the measures of each video whose features are in the store, one after the other.

        Args:
            dataset: the videos.
            failures: video id -> reason; videos in it are left out, and videos that fail are added.
        """
        videos = [video for video in dataset.videos if video.video_id not in failures]
        with progress_bar(len(videos), "video", "measure") as bar:
            for video in videos:
                try:
                    yield self._measured(video)
                except (UgcvqaError, OSError) as error:
                    failures[video.video_id] = str(error) if isinstance(error, UgcvqaError) else error_reason(error)
                bar.update()

    @cached_property
    def key(self) -> str:
        """Checksum of what measures depend on besides the video; the number of permutations matters only later."""
        chosen = {name: value for name, value in asdict(self.settings).items() if name != "permutations"}
        specs = [self.networks.maps.spec.to_json(), self.networks.deep.spec.to_json()]
        return hashlib.sha256(json.dumps([_VERSION, specs, chosen]).encode()).hexdigest()

    def _measured(self, video: Video) -> VideoMeasures:
        content = self.store.content(Path(str(video.path)))
        file = self.folder / content[:2] / f"{content}.safetensors"
        known = self._read(file, video)
        if known is not None:
            return known
        maps = torch.from_numpy(self.store.get(self.networks.maps.spec, content)["maps"])
        deep = self.store.get(self.networks.deep.spec, content)
        info = probe(str(video.path), self.limits)
        limit = cast(int, self.networks.deep.spec.settings["frames"])
        indices = study_frames(info.n_frames, info.rate, limit, info.seconds)
        if not len(indices) == len(maps) == len(deep["frames"]):
            raise StoreError(
                f"{video.path}: the store has {len(maps)} maps and {len(deep['frames'])} deep vectors for "
                f"{len(indices)} frames; delete them and run again"
            )
        arrays = measure_arrays(deep["frames"], maps, self.settings)
        arrays |= {"frame_index": np.array(indices), "is_grey": deep["is_grey"]}
        arrays |= self._curves(video, indices, maps)
        measures = VideoMeasures(video.video_id, str(video.path), _facts(info), arrays)
        metadata = {"key": self.key, "facts": dict(measures.facts)}
        write_atomic(file, arrays_to_bytes(measures.arrays, metadata), self.folder)
        return measures

    def _read(self, file: Path, video: Video) -> VideoMeasures | None:
        """Earlier measures of a video; None if there are none that can be used."""
        if not file.is_file():
            return None
        try:
            arrays, metadata = arrays_from_file(file)
        except StoreError:  # damaged: measured again
            return None
        if metadata.get("key") != self.key:
            return None
        return VideoMeasures(video.video_id, str(video.path), metadata["facts"], arrays)

    def _curves(self, video: Video, indices: Sequence[int], maps: Tensor) -> dict[str, npt.NDArray[Any]]:
        """Deletion and insertion curves of a few frames, in the orders of `ORDERS`."""
        settings = self.settings
        usable = (maps.amax((1, 2)) > 0).nonzero().flatten().tolist()
        places = [usable[k] for k in spread(len(usable), settings.curve_frames)]
        classes, curves = list[int](), np.zeros((len(places), len(ORDERS), 2, settings.curve_steps + 1))
        if places:
            network = cast(SaliencyFamily, self.networks.saliency).cam.network.to(self.device)
            pixels = read_small_frames(str(video.path), [indices[k] for k in places], self.limits)
            frames = normalise(pixels.to(self.device))
            for row, place in enumerate(places):
                with torch.inference_mode():
                    classes.append(int(network(frames[row : row + 1]).argmax()))
                one = maps[place].to(self.device)
                centre = centre_map(*one.shape).to(self.device)
                for column, order in enumerate((one, shifted_map(one, settings.seed + place), centre)):
                    found = pixel_curves(network, frames[row], order, classes[-1], settings.curve_steps)
                    curves[row, column] = torch.stack([found.deletion, found.insertion]).numpy()
        return {"curve_place": np.array(places, np.int64), "curve_class": np.array(classes, np.int64), "curves": curves}


def read_small_frames(path: str, indices: Sequence[int], limits: DecodeLimits) -> Tensor:
    """Decodes some frames of a video, squashed to 224 x 224, as (T, 3, 224, 224) uint8."""
    return torch.stack([torch.from_numpy(frame) for _, _, frame in read_frames(path, indices, "rgb224", limits)])


def _facts(info: VideoInfo) -> dict[str, Any]:
    return {
        "width": info.width,
        "height": info.height,
        "n_frames": info.n_frames,
        "fps": float(info.rate),
        "duration_s": info.duration_s,
        "is_short": info.n_frames < rounded_rate(info.rate),
    }


def measure_arrays(
    deep: npt.NDArray[np.float32], maps: Tensor, settings: MeasureSettings
) -> dict[str, npt.NDArray[Any]]:
    """Computes cosines and energy of all frames, and the sample for the tests, of frames that have a map.

    Args:
        deep: (T, D) float32.
        maps: (T, H, W) float32, 0..1; all zeros where there is no map.
        settings: what is measured.

    Returns:
        The arrays of `VideoMeasures` that need no decoding.
    """
    images = maps.numpy()
    is_empty = images.max((1, 2)) <= 0
    energy = map_energy(maps)
    usable = np.flatnonzero(~is_empty)
    sampled = usable[list(spread(len(usable), settings.sample_frames))]
    side = math.isqrt(deep.shape[1])
    chosen = images[sampled]
    return {
        "cosine": window_cosine(deep, images),
        "permuted": permuted_cosine(deep, images, settings.seed),
        "is_empty": is_empty,
        "centre": energy.centre.numpy(),
        "half_area": energy.half_area.numpy(),
        "entropy": energy.entropy.numpy(),
        "sampled": sampled,
        "deep": deep[sampled],
        "shrunk": shrink_maps(chosen, side).astype(np.float32),
        "coarse": shrink_maps(chosen, PREDICTED_SIDE).astype(np.float32),
        "columns": chosen.mean(1),
    }
