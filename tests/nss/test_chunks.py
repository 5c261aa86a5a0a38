"""The mean over the chunks of a video."""

import numpy as np
import pytest

from ugcvqa.nss.chunks import ChunkMean
from ugcvqa.nss.features import NSS


def test_chunk_mean_ignores_nan_and_keeps_infinity():
    chunks = np.random.default_rng(0).random((5, NSS.dim))
    chunks[1, 0] = chunks[3, 0] = np.nan
    chunks[:, 1] = np.nan
    chunks[2, 2] = np.inf
    mean = ChunkMean()
    for chunk in chunks:
        mean.add(chunk)
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning, match="Mean of empty slice"):
        expected = np.nanmean(chunks, axis=0)
    np.testing.assert_allclose(mean.result()["video"], expected, rtol=1e-14)
    assert np.isnan(mean.result()["video"][1])
    assert np.isinf(mean.result()["video"][2])


def test_chunk_mean_of_one_chunk_is_that_chunk():
    mean = ChunkMean()
    assert np.isnan(mean.result()["video"]).all()
    chunk = np.random.default_rng(0).random(NSS.dim)
    mean.add(chunk)
    assert np.array_equal(mean.result()["video"], chunk)


def test_chunk_mean_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"shape \(1836,\)"):
        ChunkMean().add(np.zeros(680))
