"""A data set of made-up labels and features, and the benchmark on it."""

import csv
import gzip
import io

import numpy as np

from ugcvqa.datasets.tables import FeatureTable, write_table

SMALL = ["--svr.c_exponents", "[1,3]", "--svr.gamma_exponents", "[-4,-2]", "--jobs", "1"]


def made_up(folder, name="mine", n_videos=40, seed=0):
    """Writes labels and two feature tables of a data set."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n_videos, 6)), rng.normal(size=(n_videos, 4))
    mos = np.clip(3 + 0.7 * a[:, 0] + 0.5 * b[:, 0] + 0.2 * rng.normal(size=n_videos), 1, 5)
    ids = [f"{name}{k:03d}" for k in range(n_videos)]
    lines = "".join(f"{key}.mp4,{value!r}\n" for key, value in zip(ids, mos.tolist(), strict=True))
    (folder / f"{name}.csv").write_text(f"video,mos\n{lines}")
    write_table(folder / f"{name}_a.npz", FeatureTable(tuple(ids), a))
    write_table(folder / f"{name}_b.npz", FeatureTable(tuple(ids[::-1]), b[::-1]))
    write_table(folder / f"{name}_uvq.csv", FeatureTable(tuple(ids), (mos + rng.normal(size=n_videos))[:, None]))
    return ids


def arguments(folder, *more, rows="[A,B]", splits=3):
    known = ["--data", "mine", "--labels", str(folder), "--features", str(folder), "--out", str(folder / "out")]
    return [*known, "--rows", rows, "--splits", str(splits), *SMALL, *more]


def read(path):
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    return list(csv.DictReader(io.StringIO(text.decode())))


def spoil(folder, values):
    ids = tuple(f"mine{k:03d}" for k in range(len(values)))
    write_table(folder / "mine_a.npz", FeatureTable(ids, values))
