"""What lies outside the usual subspace, against least squares."""

import numpy as np
import pytest

from ugcvqa.heads.novelty import residual


@pytest.mark.parametrize(("n_columns", "n_axes"), [(400, 64), (256, 64), (252, 63), (40, 10)])
def test_residual_is_what_64_axes_or_a_quarter_of_the_columns_leave(n_columns, n_axes):
    random = np.random.default_rng(0)
    axes = np.linalg.qr(random.normal(size=(n_columns, n_columns)))[0][:, :80]
    block = random.normal(size=(7, n_columns))
    _, left, _, _ = np.linalg.lstsq(axes[:, :n_axes], block.T)
    np.testing.assert_allclose(residual(block, axes), left, rtol=1e-9)
