import numpy as np
import pytest
import torch

from ugcvqa.errors import LabelError
from ugcvqa.samples.sequences import SequenceSource, pack, read_sequences


def arrays(lengths=(3, 1, 5), dim=4, dtype=np.float32):
    random = np.random.default_rng(0)
    return [random.normal(size=(length, dim)).astype(dtype) for length in lengths]


def test_sequences_lie_end_to_end_and_come_back():
    parts = arrays()
    table = pack(["a", "b", "c"], parts, torch.float32)
    assert table.frames.shape == (9, 4)
    assert table.dim == 4
    for row, part in enumerate(parts):
        np.testing.assert_array_equal(table.sequence(row), part)
    assert table.aligned(["set/c", "a"]) == [2, 0]
    with pytest.raises(LabelError, match="missing"):
        table.aligned(["a", "z"])


def test_batches_are_gathered_without_padding():
    parts = arrays()
    source = SequenceSource(pack(["a", "b", "c"], parts, torch.float32), np.array([1.0, 2.0, 3.0]))
    batch = source.collate([2, 0])
    assert batch.lengths == (5, 3)
    assert batch.mos.tolist() == [3.0, 1.0]
    np.testing.assert_array_equal(batch.frames, np.concatenate([parts[2], parts[0]]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_published_file_is_read_in_the_wanted_precision(shared, dtype):
    table = read_sequences(shared / "data/features/youtube_ugc_frame_features.npz", dtype)
    assert table.frames.dtype == dtype
    assert (len(table.ids), len(table.frames), table.dim) == (22, 3170, 4096)
    assert table.lengths[0] == 80
    assert table.ids[0] == "Animation_1080P-3d67"


def test_unusable_sequences_are_named(tmp_path):
    with pytest.raises(LabelError, match=r"b: frame features of shape \(2, 3\)"):
        pack(["a", "b"], [np.zeros((2, 4), np.float32), np.zeros((2, 3), np.float32)], torch.float32)
    with pytest.raises(LabelError, match=r"not finite in torch\.float16"):
        pack(["a"], [np.full((2, 4), 1e6, np.float32)], torch.float16)
    np.savez(tmp_path / "x.npz", videos=np.array(["a", "b"]), counts=np.array([1, 1]), feats=np.zeros((3, 4)))
    with pytest.raises(LabelError, match="do not belong together"):
        read_sequences(tmp_path / "x.npz", torch.float32)
    np.savez(tmp_path / "y.npz", videos=np.array(["a"]), feats=np.zeros((3, 4)))
    with pytest.raises(LabelError, match=r"an \.npz file with videos, counts and feats"):
        read_sequences(tmp_path / "y.npz", torch.float32)
