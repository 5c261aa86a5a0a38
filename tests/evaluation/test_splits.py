import csv
import gzip
import subprocess
import sys
from collections import Counter, defaultdict

import numpy as np
import pytest

from tests.support.golden import golden_arrays
from ugcvqa.errors import ConfigError, LabelError
from ugcvqa.evaluation.splits import Split, group_split, protocol_split, read_permutation, stored_split


def names(n):
    return [f"video{k:04d}" for k in range(n)]


@pytest.mark.parametrize(
    ("n", "sizes"), [(1200, (768, 192, 240)), (1039, (664, 167, 208)), (2239, (1432, 359, 448)), (10, (6, 2, 2))]
)
def test_protocol_sizes(n, sizes):
    split = protocol_split(names(n), 1)
    assert (len(split.train), len(split.val), len(split.test)) == sizes
    assert len(split.outer_train) == len(split.train) + len(split.val)


# At 25, 45 and 100 the rounding of 8.8 * i decides the seed: the exact product is an integer.
@pytest.mark.parametrize("split_index", [1, 2, 5, 25, 45, 99, 100])
@pytest.mark.parametrize("n", [10, 11, 15, 256, 1039])
def test_protocol_split_equals_scikit_learn(n, split_index):
    from sklearn.model_selection import train_test_split

    ids = names(n)
    outer, test = train_test_split(ids, test_size=0.2, random_state=int(np.ceil(8.8 * split_index)))
    train, val = train_test_split(outer, test_size=0.2, random_state=int(np.ceil(6.6 * split_index)))
    assert protocol_split(ids, split_index) == Split(tuple(train), tuple(val), tuple(test), tuple(outer))


def test_protocol_split_gives_the_published_test_sets(shared):
    """Stored per-video scores name the test videos of each published split, in order."""
    tables = published_tables(shared)
    published = defaultdict(list)
    for name in ("single_split", "per_resolution"):
        for line in read_csv(shared / "data" / "reference" / f"{name}_scores.csv.gz"):
            key = (line["dataset"], line["resolution"], line["row"], int(line["split"]))
            published[key].append(line["video"])
    assert published
    for (dataset, resolution, _, split_index), videos in published.items():
        ids = tables[dataset, resolution]
        assert protocol_split(ids, split_index).test == tuple(videos)


def test_protocol_split_gives_the_published_test_rows_of_resolution_classes():
    golden = golden_arrays("published_scores")
    keys = {name.rpartition("|")[0] for name in golden}
    for key in keys:
        ids = names(int(golden[f"{key}|n"]))
        test = protocol_split(ids, int(key.rpartition("|")[2])).test
        assert test == tuple(ids[row] for row in golden[f"{key}|test_rows"])
    assert len(keys) > 20


def test_stored_permutation_gives_the_published_test_rows():
    golden = golden_arrays("vsfa_splits")
    permutation = golden["ytugc_all.index"][:, 0].tolist()
    files = [f"{name}.mp4" for name in names(len(permutation))]
    split = stored_split([f"set/{name}" for name in names(len(permutation))], files, permutation)
    expected = sorted(golden["ytugc_all.exp0_test_index"].tolist())
    assert split.test == tuple(f"set/{name}" for name in np.array(names(len(permutation)))[expected])


def read_csv(path):
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt") as file:
        return list(csv.DictReader(file))


def published_tables(shared):
    """Ids in the row order of the published matrices, by (dataset, resolution)."""
    labels = shared / "data" / "labels"
    rows = [row for row in read_csv(labels / "youtube_ugc.csv") if row["in_paper"] == "1"]
    rows.sort(key=lambda row: int(row["paper_index"]))
    tables = {
        ("konvid_1k", "ALL"): [row["video"] for row in read_csv(labels / "konvid_1k.csv")],
        ("youtube_ugc", "ALL"): [row["video"] for row in rows],
    }
    for resolution in ("360P", "480P", "720P", "1080P"):
        tables["youtube_ugc", resolution] = [row["video"] for row in rows if row["resolution"] == resolution]
    return tables


def test_a_protocol_split_is_numbered_from_one():
    with pytest.raises(ConfigError, match="split index 0"):
        protocol_split(names(20), 0)


@pytest.mark.parametrize("make", [lambda ids: protocol_split(ids, 1), lambda ids: group_split(ids, ids, 0)])
def test_unusable_ids_are_refused(make):
    with pytest.raises(LabelError, match="9 videos are too few"):
        make(names(9))
    with pytest.raises(LabelError, match="'video0003' occurs more than once"):
        make([*names(20), "video0003"])


def test_a_split_refuses_overlapping_parts():
    with pytest.raises(LabelError, match="'b' occurs more than once"):
        Split(("a", "b"), ("b",), ("c",))
    with pytest.raises(LabelError, match="outer_train"):
        Split(("a", "b"), ("c",), ("d",), ("a", "b"))


def grouped(sizes):
    groups = [f"group{g}" for g, size in enumerate(sizes) for _ in range(size)]
    return names(len(groups)), groups


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("sizes", [[6] * 20, [1] * 40, [50, 30, 10, 5, 3, 1, 1], [100, 1, 1], [4, 4, 4]])
def test_no_group_crosses_a_boundary(sizes, seed):
    ids, groups = grouped(sizes)
    group_of = dict(zip(ids, groups, strict=True))
    split = group_split(ids, groups, seed)
    parts = [{group_of[video] for video in part} for part in (split.train, split.val, split.test)]
    assert all(parts)
    assert sum(len(part) for part in parts) == len(sizes)
    assert set().union(*parts) == set(groups)
    assert Counter(split.train + split.val + split.test) == Counter(ids)
    assert split.outer_train == split.train + split.val


@pytest.mark.parametrize("seed", range(20))
def test_group_split_meets_its_shares_where_groups_are_small(seed):
    ids, groups = grouped([3] * 100)
    split = group_split(ids, groups, seed)
    assert (len(split.train), len(split.val), len(split.test)) == (192, 48, 60)


def test_group_split_depends_on_the_seed_but_not_on_the_order_of_the_table():
    ids, groups = grouped([3] * 30)
    split = group_split(ids, groups, 1)
    reverse = group_split(ids[::-1], groups[::-1], 1)
    assert split == group_split(ids, groups, 1)
    assert split.test == reverse.test[::-1]
    assert split.val == reverse.val[::-1]
    assert split.test != group_split(ids, groups, 2).test


def test_group_split_keeps_the_order_of_the_table():
    ids, groups = grouped([3] * 30)
    split = group_split(ids, groups, 3)
    for part in (split.train, split.val, split.test):
        assert list(part) == sorted(part)


def test_group_split_refuses_bad_arguments():
    ids, groups = grouped([6, 6])
    with pytest.raises(LabelError, match="2 groups"):
        group_split(ids, groups, 0)
    with pytest.raises(LabelError, match="12 video ids but 11 group names"):
        group_split(ids, groups[:-1], 0)
    with pytest.raises(ConfigError, match=r"test_share is 1\.0"):
        group_split(ids, groups, 0, test_share=1.0)
    with pytest.raises(ConfigError, match="val_share is 0"):
        group_split(ids, groups, 0, val_share=0)
    with pytest.raises(ConfigError, match="seed is -1"):
        group_split(ids, groups, -1)


def test_importing_splits_is_light():
    code = "import sys, ugcvqa.evaluation.splits; print([m for m in ('scipy', 'torch', 'sklearn') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


@pytest.mark.parametrize(("part", "labels"), [("konvid_ugc", "konvid_1k"), ("ytugc_all", None)])
def test_stored_permutations_give_the_published_test_videos(shared, part, labels):
    file = f"{shared}/golden/vsfa_splits.npz:{part}"
    names, permutation = read_permutation(file, 1)
    ids = [f"set/{name.removesuffix('.mp4')}" for name in names]
    split = stored_split(ids, names, permutation)
    sizes = {"konvid_ugc": (721, 239, 240), "ytugc_all": (624, 208, 207)}[part]
    assert (len(split.train), len(split.val), len(split.test)) == sizes
    with np.load(shared / "golden/vsfa_splits.npz") as archive:
        assert split.test == tuple(ids[row] for row in sorted(archive[f"{part}.exp0_test_index"]))
    some = stored_split(ids[::3], names, permutation)
    assert set(some.train) == set(ids[::3]) & set(split.train)


def test_stored_splits_find_videos_under_their_release_names(shared):
    names, permutation = read_permutation(f"{shared}/golden/vsfa_splits.npz:konvid_lidq92", 3)
    ids = ["konvid_1k/5319047612"]
    assert names[2] == "5319047612_cut_centercrop_960x540_8s.mp4"
    assert "konvid_1k/5319047612" in {
        video_id for part in vars(stored_split(ids, names, permutation)).values() for video_id in part
    }


def test_unusable_split_files_are_named(tmp_path):
    np.savez(tmp_path / "s.npz", names=np.array(["a", "b"]), index=np.array([[1], [2]]))
    assert read_permutation(f"{tmp_path}/s.npz", 1) == (["a", "b"], [1, 2])
    with pytest.raises(ConfigError, match="has permutations 1 to 1, not 2"):
        read_permutation(f"{tmp_path}/s.npz", 2)
    with pytest.raises(ConfigError, match=r"holds no x\.names"):
        read_permutation(f"{tmp_path}/s.npz:x", 1)
    with pytest.raises(LabelError, match="are not a permutation"):
        stored_split(["a"], ["a", "b"], [1, 1])
    with pytest.raises(LabelError, match="c is not in the split file"):
        stored_split(["c"], ["a", "b"], [1, 2])
    with pytest.raises(LabelError, match="names a video more than once: 2 names of 1 videos"):
        stored_split(["a"], ["a.mp4", r"v\A\..\a.MP4"], [1, 2])
