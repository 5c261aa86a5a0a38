"""Exports an end-to-end model for use without this package.

    python -m ugcvqa.export_model runs/konvid_1k_clip_end_to_end model.pt2     # or model.onnx

The file maps the clip of one video, (frames, 3, side, side) uint8 RGB, to its predicted MOS, (1,) float32.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ugcvqa.cli import run_converter
from ugcvqa.errors import ConfigError
from ugcvqa.heads.exporting import export_model
from ugcvqa.heads.network_heads import FittedEndToEnd
from ugcvqa.scoring.model_file import load


def export(arguments: argparse.Namespace) -> str:
    """Exports a model.

    Raises:
        UgcvqaError: if it cannot be read, is of another kind, or cannot be exported.
    """
    head = load(arguments.checkpoint).head
    if not isinstance(head, FittedEndToEnd):
        raise ConfigError(f"{arguments.checkpoint}: only end-to-end models are networks from frames to a score")
    export_model(head, arguments.target)
    clip = head.settings.clip
    return f"{arguments.target}: clip ({clip.frames}, 3, {clip.side}, {clip.side}) uint8 -> mos (1,) float32"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the export and returns the exit code: 0, or 2 for a mistake in the input."""
    parser = argparse.ArgumentParser("export_model", description="Exports an end-to-end model for use elsewhere.")
    parser.add_argument("checkpoint", type=Path, help="run folder or model file")
    parser.add_argument("target", type=Path, help="file to write: .pt2 or .onnx")
    return run_converter(export, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
