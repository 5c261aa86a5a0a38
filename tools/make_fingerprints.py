"""Makes `ugcvqa/features/published.safetensors` of the published feature tables, which it then recognises.

    python tools/make_fingerprints.py FEATURES

FEATURES holds the tables as DATASET_FAMILY.npz. Kept are a part of the videos of each, by a checksum of the id, and
three columns, those whose numbers are most varied, in coarse steps.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.cli import exit_code_of
from ugcvqa.datasets.tables import read_table
from ugcvqa.features.fingerprints import FILE, STEPS, video_key
from ugcvqa.files import arrays_to_bytes, write_atomic

_MOST_VIDEOS = 600  # kept of a table
_KNOWN_SHARE = 0.9  # of the videos with a finite value, of columns that are taken
_MOST_STEPS = 30_000
_COARSE = 1e-3  # step of columns that are taken first: rounding to two digits behind the point does not hide them
_N_COLUMNS = 3
_SOURCES = {  # file -> family, and the columns of that family
    "youtube_ugc_nss": ("nss", slice(None)),
    "youtube_ugc_nss_run2": ("nss", slice(None)),
    "konvid_1k_nss_partial": ("nss", slice(None)),
    "youtube_ugc_cnn": ("cnn", slice(None)),
    "konvid_1k_cnn_partial": ("cnn", slice(None)),
    "youtube_ugc_nss_cnn_partial": ("cnn", slice(1360, 3408)),
    "youtube_ugc_vsfacnn_partial": ("vsfacnn", slice(None)),
    "youtube_ugc_vsfacnn_saliency_partial": ("vsfacnn_saliency", slice(None)),
    "youtube_ugc_saliency": ("saliency", slice(None)),
    "youtube_ugc_saliency_run2_360p": ("saliency", slice(None)),
    "konvid_1k_saliency": ("saliency", slice(None)),
    "youtube_ugc_videval": ("videval", slice(None)),
    "konvid_1k_videval": ("videval", slice(None)),
    "youtube_ugc_brisque": ("brisque", slice(None)),
    "konvid_1k_brisque": ("brisque", slice(None)),
}
_FRAMES = "youtube_ugc_frame_features"


def tables(folder: Path) -> Iterator[tuple[str, str, list[str], npt.NDArray[Any]]]:
    """Yields name, family, ids and columns of each published table."""
    for name, (family, columns) in _SOURCES.items():
        table = read_table(folder / f"{name}.npz")
        yield name, family, list(table.ids), table.values[:, columns]
    with np.load(folder / f"{_FRAMES}.npz") as arrays:
        ends = np.cumsum(arrays["counts"])[:-1]
        means = [frames.mean(axis=0, dtype=np.float64) for frames in np.split(arrays["feats"], ends)]
        yield _FRAMES, "vsfacnn", [str(video) for video in arrays["videos"]], np.stack(means)


def fingerprint(ids: list[str], values: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Takes a few numbers of a table."""
    keys = np.array([video_key(video_id) for video_id in ids], dtype=np.uint32)
    every = -(-len(ids) // _MOST_VIDEOS)
    rows = np.argsort(keys)[::every]
    is_known = np.isfinite(values)
    x = np.where(is_known, values, 0).astype(np.float64)
    low, high = np.quantile(x, (0.25, 0.75), axis=0)
    unit = (high - low) / 2 / STEPS
    is_usable = (is_known.mean(axis=0) > _KNOWN_SHARE) & (unit > 0) & (np.abs(x).max(axis=0) < _MOST_STEPS * unit)
    is_coarse = is_usable & (unit > _COARSE)
    is_usable = is_coarse if is_coarse.sum() >= _N_COLUMNS else is_usable
    in_steps = np.round(np.divide(x, unit, out=np.zeros_like(x), where=is_usable))
    varied = np.array([len(np.unique(column)) for column in in_steps.T])
    columns = np.sort(np.argsort(-varied, kind="stable")[:_N_COLUMNS])
    rows = rows[is_known[rows][:, columns].all(axis=1)]
    return {
        "videos": keys[rows],
        "columns": columns.astype(np.int64),
        "unit": unit[columns],
        "steps": in_steps[rows][:, columns].astype(np.int16),
    }


def main() -> int:
    """Runs the tool and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path)
    arguments = parser.parse_args()
    arrays: dict[str, npt.NDArray[Any]] = {}
    metadata: dict[str, Any] = {}
    for name, family, ids, values in tables(arguments.features):
        metadata[name] = [family, values.shape[1]]
        arrays |= {f"{name}.{part}": array for part, array in fingerprint(ids, values).items()}
    write_atomic(FILE, arrays_to_bytes(arrays, metadata))
    sys.stdout.write(f"{FILE}: {FILE.stat().st_size} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main, "make_fingerprints"))
