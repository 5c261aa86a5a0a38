"""Makes a model that scores videos from a published state dict of VSFA's head.

    python -m ugcvqa.convert_vsfa VSFA.pt model.safetensors --label-scale 4.64 --trained-on "konvid_1k (VSFA.pt)"
    python -m ugcvqa.score clip.mp4 --checkpoint model.safetensors

Such files are published by lidq92/VSFA and by later users of its code (.pt, or .npz with one array per parameter).
They hold neither the scale of the labels nor the temporal pooling: the published trainings divide by the largest MOS of
the data set, 4.64 for KoNViD-1k and 4.677 for YouTube-UGC.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ugcvqa.cli import run_converter
from ugcvqa.errors import ConfigError
from ugcvqa.evaluation.metrics import IDENTITY
from ugcvqa.heads.gru import MOSLine, published_head
from ugcvqa.heads.network_heads import FittedGRU
from ugcvqa.scoring.model import QualityModel
from ugcvqa.settings.features import FamilySettings


def convert(arguments: argparse.Namespace) -> str:
    """Reads a state dict and writes a model file.

    Raises:
        UgcvqaError: if the file cannot be used or the label scale is not known.
    """
    network, scale = published_head(arguments.source, arguments.tau, arguments.beta)
    scale = arguments.label_scale or scale
    if scale is None:
        raise ConfigError(f"{arguments.source}: does not name its label scale; give --label-scale (KoNViD-1k: 4.64)")
    head = FittedGRU(network.requires_grad_(False), MOSLine(0.0, scale), IDENTITY)
    trained_on = arguments.trained_on or arguments.source.name
    made_by = {"vsfacnn": arguments.made_by}
    model = QualityModel(head, "VSFACNN", FamilySettings(), "MOS", tuple(arguments.scale), trained_on, {}, made_by)
    model.save(arguments.target)
    return f"{arguments.target}: GRU head on {network.projection.in_features} frame features, label scale {scale:g}"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the conversion and returns the exit code: 0, or 2 for a mistake in the input."""
    parser = argparse.ArgumentParser("convert_vsfa", description="Makes a model from a state dict of VSFA's head.")
    parser.add_argument("source", type=Path, help="published state dict (.pt, .pth, .npz)")
    parser.add_argument("target", type=Path, help="model file to write (.safetensors)")
    parser.add_argument("--label-scale", type=float, help="MOS that the training divided labels by")
    parser.add_argument("--scale", type=float, nargs=2, default=[1.0, 5.0], help="lowest and highest MOS")
    parser.add_argument("--tau", type=int, default=12, help="window of the temporal pooling, in frames")
    parser.add_argument("--beta", type=float, default=0.5, help="weight of the present in the temporal pooling")
    parser.add_argument(
        "--made-by", default="torchvision-resnet50-IMAGENET1K_V1", help="network of the features it was trained on"
    )
    parser.add_argument("--trained-on", help="training set, for the record")
    return run_converter(convert, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
