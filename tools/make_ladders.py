"""Makes the feature table of the encoding ladders, from which `sparse_gp` heads learn that compression never helps.

    python tools/make_ladders.py OUTPUT.npz [--row NSS_CONTAINER] [--scenes 66]

The videos are rendered, encoded, measured and deleted; nothing is downloaded. The whole set takes about ten minutes
of one core with row NSS_CONTAINER.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from ugcvqa.cli import exit_code_of
from ugcvqa.datasets.tables import FeatureTable, write_table
from ugcvqa.demo.ladders import SCENES, ladder_plan, write_ladders
from ugcvqa.errors import VideoError
from ugcvqa.features.extraction import extract_features
from ugcvqa.features.families import build_families
from ugcvqa.features.rows import assemble_row, families_of
from ugcvqa.features.stream import ClipStream, Task
from ugcvqa.progress import progress_bar
from ugcvqa.settings.features import FamilySettings


def ladder_table(row: str, scenes: int) -> FeatureTable:
    """Features of all videos of the first scenes, scene by scene, from light to heavy."""
    families = build_families(families_of(row), FamilySettings())
    ids, rows = [], []
    with progress_bar(scenes, "scene", "ladders") as bar, tempfile.TemporaryDirectory() as folder:
        for ladder in ladder_plan(scenes):
            for video_id, path in write_ladders(ladder, Path(folder)):
                (result,) = extract_features(ClipStream([Task(video_id, str(path))], families), families)
                if result.reason:
                    raise VideoError(result.reason)
                path.unlink()
                ids.append(video_id)
                rows.append(assemble_row(row, {name: arrays["video"] for name, arrays in result.features.items()}))
            bar.update(1)
    return FeatureTable(tuple(ids), np.stack(rows).astype(np.float32))


def main() -> int:
    """Runs the tool and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--row", default="NSS_CONTAINER")
    parser.add_argument("--scenes", type=int, default=SCENES)
    arguments = parser.parse_args()
    table = ladder_table(arguments.row, arguments.scenes)
    write_table(arguments.output, table)
    sys.stdout.write(f"{arguments.output}: {len(table.ids)} videos, {table.values.shape[1]} columns\n")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main, "make_ladders"))
