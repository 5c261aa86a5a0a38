"""Takes an end-to-end model out of this package: one file that maps a clip to a score, without our code."""

import io
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ugcvqa.errors import ConfigError
from ugcvqa.files import error_reason, write_atomic
from ugcvqa.heads.end_to_end import EndToEnd
from ugcvqa.heads.gru import MOSLine
from ugcvqa.heads.network_heads import FittedEndToEnd

FORMATS = (".pt2", ".onnx")
"""File name endings that `export_model` knows."""


class ClipScorer(nn.Module):
    """What is exported: the clip of one video, (n, 3, S, S) uint8 RGB, to its predicted MOS, (1,) float32."""

    def __init__(self, network: EndToEnd, line: MOSLine, frames: int) -> None:
        super().__init__()
        self.network, self.line, self.frames = network, line, frames

    def forward(self, clip: Tensor) -> Tensor:
        """Scores a clip."""
        relative: Tensor = self.network(clip, (self.frames,))
        return self.line.offset + self.line.slope * relative


def export_model(head: FittedEndToEnd, path: Path) -> None:
    """Writes an end-to-end model for other programs.

    The clip has the size that the model was trained with: the frames that `clips.clip_plan` names, resized and cropped
    as `clips` does.

    Args:
        head: the trained model, on the CPU.
        path: ends in `.pt2` for torch.export, or `.onnx`, which needs the extra `onnx`.

    Raises:
        ConfigError: if the ending is another, or the packages for it are missing.
        StoreError: if the file cannot be written.
    """
    clip = head.settings.clip
    scorer = ClipScorer(head.network, head.line, clip.frames).eval()
    example = torch.zeros(clip.frames, 3, clip.side, clip.side, dtype=torch.uint8)
    if path.suffix not in FORMATS:
        raise ConfigError(f"{path}: exported models end in {' or '.join(FORMATS)}")
    # An export simulates a GPU, for which autograd would start a thread, after which no forked process could train;
    # where autograd has started before it starts no other thread.
    torch.zeros(1, requires_grad=True).sum().backward()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The tensor attributes", UserWarning)  # a GRU's list of its own weights
        program = torch.export.export(scorer, (example,))
        if path.suffix == ".onnx":
            content = _onnx(program, example, path)
        else:
            buffer = io.BytesIO()
            torch.export.save(program, buffer)
            content = buffer.getvalue()
    write_atomic(path, content)


def _onnx(program: torch.export.ExportedProgram, example: Tensor, path: Path) -> bytes:
    try:
        exported: Any = torch.onnx.export(
            program, (example,), dynamo=True, verbose=False, input_names=["clip"], output_names=["mos"]
        )
    except ImportError as error:
        raise ConfigError(
            f"{path}: ONNX needs more packages ({error_reason(error)}); pip install '.[onnx]' where its source is"
        ) from error
    content: bytes = exported.model_proto.SerializeToString()
    return content
