"""What became of the videos of an extraction: features in the store, and lists of failures and warnings beside it."""

import logging
from collections.abc import Mapping

from ugcvqa.datasets.catalogue import Dataset
from ugcvqa.display.lines import failure_rows
from ugcvqa.features.extraction import VideoResult, keep_result
from ugcvqa.features.family import Family
from ugcvqa.features.store import FeatureStore
from ugcvqa.files import write_atomic
from ugcvqa.launchers import is_main_process

log = logging.getLogger(__name__)

WARNINGS = "warnings"
"""Second column of the list of warnings."""

_SHOWN = 10  # lines on the screen, the file has all


class Outcome:
    """Keeps the results of videos as they come, and lists at the end which failed, or will have doubtful scores.

    Args:
        dataset: the videos; those without a file count as failed.
        families: the feature families.
        store: where features go.

    Attributes:
        failures: video id -> reason.
        warnings: video id -> what makes the score of a video that did not fail doubtful.
    """

    def __init__(self, dataset: Dataset, families: Mapping[str, Family], store: FeatureStore) -> None:
        self.store, self._specs = store, {name: family.spec for name, family in families.items()}
        self.failures = {video.video_id: "no file found" for video in dataset.videos if video.path is None}
        self.warnings: dict[str, str] = {}
        self.failure_file, self.warning_file = (
            store.root / f"{kind}-{dataset.name}.csv" for kind in ("failures", "warnings")
        )

    def add(self, video_id: str, result: VideoResult) -> None:
        """Writes the features of a video to the store, or notes why it has none.

        Raises:
            StoreError: if the store cannot be written.
        """
        if result.reason:
            self.failures[video_id] = result.reason
        elif result.warnings:
            self.warnings[video_id] = "; ".join(result.warnings)
        keep_result(self.store, self._specs, video_id, result)

    def write(self) -> None:
        """Writes both lists."""
        write_atomic(self.warning_file, failure_rows(self.warnings, WARNINGS))
        write_atomic(self.failure_file, failure_rows(self.failures))

    def report(self) -> None:
        """Logs how many videos failed, and which will have a score with a warning, the first ones by name."""
        if not is_main_process():
            return
        if self.warnings:
            log.warning("%d videos whose score will have a warning, see %s", len(self.warnings), self.warning_file)
        for video_id, text in sorted(self.warnings.items())[:_SHOWN]:
            log.warning("  %s: %s", video_id, text)
        if len(self.warnings) > _SHOWN:
            log.warning("  .. and %d more", len(self.warnings) - _SHOWN)
        if self.failures:
            log.warning("%d videos failed, see %s", len(self.failures), self.failure_file)
