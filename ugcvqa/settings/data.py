"""Settings of data: which videos and labels, how they are read, which of them train, and what is refused."""

from dataclasses import dataclass
from typing import Literal

from ugcvqa.errors import ConfigError


@dataclass(frozen=True)
class DataSettings:
    """Which videos and labels.

    Attributes:
        name: `demo` (made by the package), `konvid_1k`, `youtube_ugc`, `combined`, or any name for videos of your own.
        labels: label file as its owner distributes it, or for videos of your own a CSV with a file and a MOS column.
        root: folder with the videos, searched in depth; $UGCVQA_DATA/NAME if left out.
        subset: for YouTube-UGC: 360P, 480P, 720P, 1080P or `all`; the paper's 1,039 videos if left out.
        features: feature files (.npz, .csv, .mat) or a family's folders in a store, to use instead of videos; joined
            by id, side by side.
        made_by: who made these features where no file says so: `ugcvqa`, or the name of another network or program;
            or a mapping from family to name. A model scores videos only if this package computes its features.
        scenes: number of scenes of the demo set, each in six versions.
    """

    name: str = "demo"
    labels: str | None = None
    root: str | None = None
    subset: str | None = None
    features: tuple[str, ...] | str = ()
    made_by: str | dict[str, str] | None = None
    scenes: int = 28

    def __post_init__(self) -> None:
        if self.made_by is not None and not self.features:
            raise ConfigError("--data.made_by says who made --data.features; give these, or leave it out")


@dataclass(frozen=True)
class DecodeLimits:
    """Sizes above which a file is refused; None means no limit. They never change what is read from other files.

    Attributes:
        max_pixels: height times width of one frame.
        max_frames: frames of one video.
        max_duration_s: seconds of one video.
        max_file_bytes: size of the file.
        max_decode_s: processor seconds of demuxing and decoding in one pass over the file; also wall seconds of opening
            it and of reading any one packet, for example from a disk that does not answer.
    """

    max_pixels: int | None = 2**26
    max_frames: int | None = 10_000_000
    max_duration_s: float | None = 24 * 3600.0
    max_file_bytes: int | None = None
    max_decode_s: float | None = 6 * 3600.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not value > 0:
                raise ConfigError(f"limits.{name} is {value}: give a number greater than 0, or null for no limit")


@dataclass(frozen=True)
class LoaderSettings:
    """How clips are read; affects speed, never a result.

    Attributes:
        batch_size: clips per step.
        workers: decoding processes per device; 0 decodes in the computing process; -1 takes 0 on the CPU, where
            every core computes, and for a GPU all but one of the cores that fall to it.
    """

    batch_size: int = 1
    workers: int = -1

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.workers < -1:
            raise ConfigError(
                f"batch_size {self.batch_size}, workers {self.workers}: at least one clip per batch, and -1, 0 or "
                "more workers are needed"
            )


@dataclass(frozen=True)
class DaskSettings:
    """Where videos are worked on with `--backend dask`; never changes a result.

    Attributes:
        scheduler: address of a running Dask scheduler, such as tcp://host:8786; workers are started here if left out.
            Its workers need this package, and the files under the same names.
        retries: how many workers a video may cost before it counts as failed; a running scheduler has its own number.
    """

    scheduler: str | None = None
    retries: int = 2

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise ConfigError(f"dask.retries is {self.retries}: it must be at least 0")


@dataclass(frozen=True)
class SplitSettings:
    """Which videos train, choose and test.

    Attributes:
        kind: `protocol` for the benchmark's seeded splits, which shuffle videos; `group` keeps all videos of a
            content group (scene) on one side; `auto` takes `group` where the data set names groups; `stored` for the
            permutations that VSFA's authors publish.
        index: number of the protocol split, 1 to 100 in the benchmark, or of the stored permutation, from 1.
        seed: seed of the group split.
        file: of `stored`: an .npz file with `names` and `index`, one permutation of 1..n per column; FILE.npz:SET for
            one with `SET.names` and `SET.index`.
        refit: after the held-out figures, train once more on all videos, test part included, and keep that
            model; for heads on video vectors.
    """

    kind: Literal["auto", "protocol", "group", "stored"] = "auto"
    index: int = 1
    seed: int = 0
    file: str | None = None
    refit: bool = False

    def __post_init__(self) -> None:
        if (self.kind == "stored") != (self.file is not None):
            raise ConfigError("split kind `stored` needs --split.file, and no other kind takes it")
