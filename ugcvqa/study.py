"""`ugcvqa study VIDEO...`: the paper's saliency study on videos, a data set, published frames or a benchmark."""

import logging
import sys
from functools import partial
from pathlib import Path
from typing import Any

from ugcvqa.cli import run_verb
from ugcvqa.launchers import is_main_process
from ugcvqa.settings.data import DataSettings, DecodeLimits, LoaderSettings
from ugcvqa.settings.features import FamilySettings
from ugcvqa.settings.study import DeepNetwork, MeasureSettings, PictureSettings, StudySettings
from ugcvqa.settings.training import WandbSettings

log = logging.getLogger(__name__)


def study(
    videos: list[str],
    data: DataSettings | None = None,
    out: str = "study",
    store: str = "store",
    frames: int = 32,
    network: DeepNetwork = "complete",
    families: FamilySettings = FamilySettings(),
    backbone: str | None = None,
    saliency_backbone: str | None = None,
    measures: MeasureSettings = MeasureSettings(),
    pictures: PictureSettings = PictureSettings(),
    published: str | None = None,
    benchmark: str | None = None,
    wandb: WandbSettings = WandbSettings(mode="disabled"),
    device: str | None = None,
    loader: LoaderSettings = LoaderSettings(),
    limits: DecodeLimits = DecodeLimits(),
    trainer: dict[str, Any] = {},
) -> int:
    """Examines whether deep features carry saliency and whether it helps; writes figures, tables and conclusions.

    Writes `conclusions.html` and `conclusions.md`, Figures 1, 5, 6 and 7 of the paper, the tables behind them, and
    tests across videos, into one folder. Maps and features are kept in the store, measures in the folder, so the same
    command resumes where it stopped. Exit code 0, 1 if some videos failed, 2 if all did.

    Args:
        videos: video files, or folders of them; instead of `--data`.
        data: a data set.
        out: folder of the study.
        store: folder of the feature store.
        frames: most frames of a video, evenly chosen from one per second.
        network: `complete`, or the network that made the published example: `as_published`, without the first
            normalisation, activation and pooling of ResNet-50.
        families: networks of the deep features and of saliency.
        backbone: network in place of ResNet-50, short for --families.deep.backbone: a classification network of
            torchvision, or efficientnet_lite0, whose weights come with the extra `lite`.
        saliency_backbone: such a network in place of VGG-16, short for --families.saliency.backbone.
        measures: what is measured beyond the paper's cosine.
        pictures: how much is drawn.
        published: .npz file with `deep`, `saliency` and `cosine` of the published frames.
        benchmark: folder of a finished benchmark, for what saliency adds to predicted quality.
        wandb: Weights & Biases for pictures and numbers; `--wandb offline` is short for `--wandb.mode offline`.
        device: where maps are checked: cpu, cuda, cuda:1; a GPU if there is one.
        loader: how clips are read.
        limits: bounds on what is decoded.
        trainer: arguments of Lightning's Trainer for the extraction, such as devices, num_nodes, accelerator.
    """
    asked = StudySettings(
        videos, data, out, store, frames, network, families.with_backbones(backbone, saliency_backbone), measures,
        pictures, published, benchmark, device, limits,
    )  # fmt: skip
    from ugcvqa.display.figures import font
    from ugcvqa.studies.study_run import Study

    job = Study(asked)
    with font(pictures.font):
        if published:
            job.add_published(Path(published))
        if benchmark:
            job.add_benchmark(Path(benchmark))
        if asked.has_videos:
            job.add_videos(loader, trainer)
    if not is_main_process():
        return 0
    page = job.finish()
    if wandb.mode != "disabled":
        job.log_images(page, wandb)
    sys.stdout.write("".join(f"{warning}\n" for warning in page.warnings))
    for question, answers in page.conclusions.items():
        sys.stdout.write("".join([f"{question}\n", *(f"- {answer}\n" for answer in answers)]))
    sys.stdout.write(f"page: {out}/conclusions.html\n")
    return job.exit_code


main = partial(run_verb, study, positional=["videos"])

if __name__ == "__main__":
    sys.exit(main())
