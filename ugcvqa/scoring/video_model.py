"""The way from videos, in files or in memory, to their scores: the same for trained models and for UVQ."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ugcvqa.features.artefact_family import NAME as ARTEFACTS
from ugcvqa.features.artefact_family import ArtefactFamily
from ugcvqa.features.extraction import VideoResult, extract_files, usable_device, usable_paths
from ugcvqa.features.family import Family
from ugcvqa.media.facts import VideoInfo
from ugcvqa.media.memory import NAME
from ugcvqa.scoring.explanation import Explanation, Timeline
from ugcvqa.scoring.found_artefacts import set_apart
from ugcvqa.scoring.moments import Picture, file_picture, worst_and_best
from ugcvqa.scoring.result import Score, only
from ugcvqa.settings.data import DecodeLimits

if TYPE_CHECKING:
    from ugcvqa.scoring.frames_in_memory import Frames  # imports torch


class VideoModel:
    """Scores videos; a child states which features it needs and what they mean."""

    def score(
        self,
        path: str | Path,
        device: str = "cpu",
        limits: DecodeLimits | None = None,
        timeline: bool = False,
        explain: bool = False,
    ) -> Score:
        """Scores one video file, see `score_many`.

        Raises:
            VideoError: if the video cannot be read.
            CheckpointError: if the features of this model cannot be computed from a video.
        """
        return only(self.score_many([path], device=device, limits=limits, timeline=timeline, explain=explain))

    def score_frames(
        self,
        frames: "Frames",
        fps: float | Fraction,
        device: str = "cpu",
        timeline: bool = False,
        explain: bool = False,
        full_range: bool = False,
    ) -> Score:
        """Scores frames that are in memory, see `frames_in_memory.Frames` for what they may be.

        A list of what a decoder gave (planes of 4:2:0 video as coded, or PyAV's frames of any format and depth; no
        iterator, as no file keeps all that such frames say of themselves) and the file get the same score, and so do
        RGB frames and an RGB file that holds them losslessly. RGB frames that were made from YUV cannot get it exactly:
        NSS features see planes with their levels as coded, while RGB has rounded them, has interpolated the chroma and
        has cut colours off at black and white. That moved scores by less than 0.2 MOS in soft colours, by up to 0.25 in
        test patterns. They are turned back by BT.601, which also moves scores if the source had another matrix.

        Args:
            frames: the video.
            fps: frames per second.
            device: where features are computed.
            timeline: see `score_many`.
            explain: see `score_many`.
            full_range: RGB frames or planes come from full-range video, such as Motion JPEG; without it such RGB can be
                off by 0.7 MOS.

        Raises:
            VideoError: if the frames are not a video, or too few.
            CheckpointError: if the features of this model cannot be computed from a video.
        """
        from ugcvqa.scoring.frames_in_memory import memory_result

        families, by_second = self._all_families(explain), self._pools_seconds and (timeline or explain)
        with memory_result(frames, fps, families, usable_device(device), by_second, full_range) as (result, picture):
            return only(iter([self._on(device)._scored(NAME, result, timeline, explain, picture)]))

    def score_many(
        self,
        paths: Iterable[str | Path],
        batch_size: int = 1,
        workers: int = 0,
        device: str = "cpu",
        limits: DecodeLimits | None = None,
        timeline: bool = False,
        explain: bool = False,
    ) -> Iterator[Score]:
        """Scores videos one after the other and yields each score in the order of the paths.

        A video that fails yields a score of NaN with its reason. Neither `batch_size` nor `workers` changes
        a score. Paths are taken as they are needed, so a generator of a million is as good as a list.

        Args:
            paths: video files.
            batch_size: clips that travel together from the decoder.
            workers: processes that decode; 0 decodes in this one.
            device: where features are computed: `cpu`, `cuda`, `cuda:1`.
            limits: bounds on what is decoded.
            timeline: also scores every second, in the same decode pass; keeps a vector of features for each.
            explain: also states what the parts of the features add, names likely artefacts, and takes a picture of the
                worst and best second, for which the file is opened again; includes the timeline.

        Raises:
            CheckpointError: if the features of this model cannot be computed from a video.
        """
        families, by_second = self._all_families(explain), self._pools_seconds and (timeline or explain)
        names = usable_paths(paths)
        results = extract_files(names, families, limits, batch_size, workers, usable_device(device), by_second)
        model = self._on(device)
        return (model._scored(path, result, timeline, explain, file_picture(path, limits)) for path, result in results)

    @property
    def _pools_seconds(self) -> bool:
        """Whether its timeline is made of features that are pooled second by second."""
        return False

    def _families(self) -> dict[str, Family]:
        """What computes its features."""
        raise NotImplementedError

    def _on(self, device: str) -> Self:
        """The same model with its head, if that is a network, on a device."""
        del device
        return self

    def _judged(self, path: str, result: VideoResult) -> Score:
        """The score of a video's features alone."""
        raise NotImplementedError

    def _timeline(self, result: VideoResult, info: VideoInfo) -> Timeline:
        """The score second by second."""
        raise NotImplementedError

    def _contributions(self, result: VideoResult) -> tuple[dict[str, float], str]:
        """Part of the features -> what it adds to the score, and how that was found."""
        raise NotImplementedError

    def _all_families(self, explain: bool) -> dict[str, Family]:
        return self._families() | ({ARTEFACTS: ArtefactFamily()} if explain else {})

    def _scored(self, path: str, result: VideoResult, timeline: bool, explain: bool, picture: Picture) -> Score:
        if result.reason:
            failed = Score(path, math.nan, math.nan, result.reason, warnings=result.warnings)
            return failed.of_file(result.info)
        result, artefacts = set_apart(result)
        score = self._judged(path, result).of_file(result.info)
        if score.reason or result.info is None or not (timeline or explain):
            return score
        score = replace(score, timeline=(line := self._timeline(result, result.info)))
        if not explain:
            return score
        contributions, method = self._contributions(result)
        worst, best = worst_and_best(line, result.info, picture)
        return replace(score, explanation=Explanation(contributions, line, worst, best, method, artefacts))
