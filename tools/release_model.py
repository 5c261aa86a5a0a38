"""Makes a released model of a run folder: adds what its features must be, and writes it below `checkpoints`.

    python tools/release_model.py RUN NAME [--folder checkpoints]

A model that was trained on imported features knows nothing of how `score` computes them. This records the spec of each
family whose network is installed, so that a later version that computes other features refuses the model. The line
that is printed belongs in `SHA256` of `ugcvqa/scoring/released.py`.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from ugcvqa.cli import exit_code_of
from ugcvqa.errors import WeightsError
from ugcvqa.features.families import build_families
from ugcvqa.features.rows import families_of
from ugcvqa.files import file_sha256
from ugcvqa.scoring.model import QualityModel
from ugcvqa.scoring.model_file import load


def specs_of(model: QualityModel) -> dict[str, str]:
    """Family -> spec as JSON, without families whose network weights are not installed."""
    specs = {}
    for name in families_of(model.row):
        try:
            specs[name] = build_families((name,), model.settings)[name].spec.to_json()
        except WeightsError as error:
            sys.stderr.write(f"release_model: {name} features are not recorded: {error}\n")
    return specs


def main() -> int:
    """Runs the tool and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--folder", type=Path, default=Path("checkpoints"))
    arguments = parser.parse_args()
    path = arguments.folder / f"{arguments.name}.safetensors"
    model = load(arguments.run)
    replace(model, specs=specs_of(model)).save(path)
    sys.stdout.write(f'"{arguments.name}": "{file_sha256(path)}",  # {path.stat().st_size} bytes\n')
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main, "release_model"))
