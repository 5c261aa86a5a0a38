import numpy as np
import pytest
from scipy.special import ndtri

from ugcvqa.heads.scaling import apply_scaling


@pytest.mark.parametrize("rows", [1, 5, 60])
@pytest.mark.parametrize("count", [2, 64])
def test_rank_scaling_is_interpolation_in_each_column_however_many_rows_there_are(rows, count):
    rng = np.random.default_rng(rows + count)
    table = np.sort(np.round(rng.normal(0, 2, (count, 40)), 1), axis=0).astype(np.float32)
    table[:, 0] = 0.5
    x = np.round(rng.normal(0, 2, (rows, 40)), 1).astype(np.float32).astype(float)
    x[0, 0], x[0, 1], x[0, 2], x[0, 3] = 0.5, np.nan, 1e30, -1e30
    x[0, 4], x[0, 5], x[0, 6] = table[0, 4], table[-1, 5], table[count // 2, 6]
    found, places = apply_scaling(x, "rank", table), np.arange(count, dtype=float)
    for column, ordered in enumerate(table.T.astype(float)):
        last = np.interp(x[:, column], ordered, places)
        first = count - 1 - np.interp(-x[:, column], -ordered[::-1], places)
        place = np.where(np.isnan(x[:, column]), (count - 1) / 2, (first + last) / 2)
        np.testing.assert_allclose(found[:, column], ndtri((place + 0.5) / count), rtol=1e-6, atol=1e-7)
