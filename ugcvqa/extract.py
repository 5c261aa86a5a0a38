"""`ugcvqa extract`: features of the videos of a data set, into the store."""

import sys
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ugcvqa.cli import run_verb
from ugcvqa.errors import ConfigError
from ugcvqa.launchers import is_main_process
from ugcvqa.settings.data import DaskSettings, DataSettings, DecodeLimits, LoaderSettings
from ugcvqa.settings.features import FamilySettings


def extract(
    data: DataSettings = DataSettings(),
    rows: list[str] | str = "NSS",
    families: FamilySettings = FamilySettings(),
    backbone: str | None = None,
    saliency_backbone: str | None = None,
    store: str = "store",
    loader: LoaderSettings = LoaderSettings(),
    limits: DecodeLimits = DecodeLimits(),
    trainer: dict[str, Any] = {},
    backend: Literal["lightning", "dask"] = "lightning",
    dask: DaskSettings = DaskSettings(),
) -> int:
    """Computes the features of a data set's videos and keeps them in the store.

    Videos whose features are in the store are skipped, so an interrupted run is continued by the same command.
    A video that fails becomes a row of STORE/failures-NAME.csv and the others are computed; the exit code is then 1.
    Videos whose score will have a warning (HDR, interlaced, damaged, ...) are rows of STORE/warnings-NAME.csv.

    Args:
        data: the videos.
        rows: feature row, or several as [NSS,CNN], whose parts are wanted; `all` means the paper's eleven.
        families: settings of the feature families.
        backbone: network in place of ResNet-50, short for --families.deep.backbone: a classification network of
            torchvision, or efficientnet_lite0, whose weights come with the extra `lite`.
        saliency_backbone: such a network in place of VGG-16, short for --families.saliency.backbone.
        store: folder of the feature store.
        loader: how clips are read.
        limits: bounds on what is decoded.
        trainer: arguments of Lightning's Trainer, such as devices, num_nodes, strategy, accelerator, and callbacks
            by class_path, which are added to ours.
        backend: what shares out the videos: Lightning's Trainer, or Dask workers (extra `dask`), one per core where no
            scheduler is given; never changes a feature.
        dask: where Dask's workers are; they need the videos and the store under the same names.
    """
    if backend == "dask" and trainer:
        raise ConfigError("--trainer.* is Lightning's; leave it or --backend dask out")
    if backend != "dask" and dask != DaskSettings():
        raise ConfigError("--dask.* is used with --backend dask only")
    from ugcvqa.features.families import build_families
    from ugcvqa.features.inputs import open_dataset
    from ugcvqa.features.rows import families_of_rows
    from ugcvqa.features.store import FeatureStore
    from ugcvqa.models.extraction import extract_dataset, settled_on

    if trainer:
        from ugcvqa.trainer import EXTRACTION

        EXTRACTION.check(trainer)
    families = families.with_backbones(backbone, saliency_backbone)
    names = families_of_rows([rows] if isinstance(rows, str) else rows)
    features = FeatureStore(Path(store))
    families = settled_on(families, names, features.root, trainer, can_use_gpu=backend != "dask")
    networks = build_families(names, families)
    dataset = open_dataset(data)
    if backend == "dask":
        from ugcvqa.models.dask_extraction import extract_by_dask

        failures = extract_by_dask(dataset, networks, families, features, limits, dask)
    else:
        failures = extract_dataset(dataset, networks, features, loader, limits, trainer)
    if is_main_process():
        sys.stdout.write(
            f"{len(dataset.videos) - len(failures)} of {len(dataset.videos)} videos of {dataset.name} have "
            f"{' + '.join(names)} features in {store}\n"
        )
    return 1 if failures else 0


main = partial(run_verb, extract)

if __name__ == "__main__":
    sys.exit(main())
