"""What tests of the NSS share: the module by precision, small inputs, and comparison within stated tolerances."""

import numpy as np
import torch

from ugcvqa.nss.features import NSS

PRECISIONS = ("float64", "float32", "compiled")
"""float64 and float32 by torch, and float32 by compiled kernels."""


IS_SHAPE = np.isin(np.arange(34), [0, 4, 8, 12, 16, 20, 22, 24, 26, 28, 30, 32])
UNBOUNDED = 1e10

# |difference| <= relative * |reference| + absolute, and "shape" for the grid values
TOLERANCES = {
    "float64": {"shape": 1e-9, "relative": 2e-6, "absolute": 1e-6},
    "float32": {"shape": 3e-3, "relative": 1e-3, "absolute": 3e-4},
    "compiled": {"shape": 3e-3, "relative": 1e-3, "absolute": 3e-4},
    "unstable": 0.1,
    "maps": 1e-9,
    "grey": 1e-9,
    "published": {"relative": 1e-6, "products": 3e-4, "lab_absolute": 3e-3, "lab_relative": 1e-3},
    "scipy": 1e-9,
}


def nss(precision="float32", **settings):
    """The module for a name of PRECISIONS."""
    if precision == "compiled":
        return NSS(engine="compiled", **settings)
    return NSS(precision=precision, **settings)


def as_planes(rgb):
    return torch.from_numpy(rgb).movedim(-1, -3)


def noise(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def assert_close(features, reference, precision, stable=None):
    """Equal NaN and Inf pattern on stable dimensions, finite values within the tolerances."""
    features, reference = (torch.as_tensor(values).cpu().numpy().copy() for values in (features, reference))
    for values in (features, reference):
        values[np.abs(values) > UNBOUNDED] = np.inf
    stable = np.ones(len(reference), dtype=bool) if stable is None else stable
    np.testing.assert_array_equal(np.isnan(features[stable]), np.isnan(reference[stable]))
    np.testing.assert_array_equal(np.isinf(features[stable]), np.isinf(reference[stable]))
    finite = np.isfinite(features) & np.isfinite(reference)
    is_shape = np.tile(IS_SHAPE, len(reference) // 34)
    limits = TOLERANCES[precision]
    difference = np.abs(np.where(finite, features - np.where(finite, reference, 0), 0))
    bound = np.where(is_shape, limits["shape"], limits["relative"] * np.abs(reference) + limits["absolute"])
    beyond = np.flatnonzero(stable & finite & (difference > bound))
    assert not len(beyond), [(int(i), features[i], reference[i]) for i in beyond[:5]]
    assert difference[~stable].max(initial=0) < TOLERANCES["unstable"]


def random_chunk(height, width, n_temporal=8):
    chroma = ((height + 1) // 2, (width + 1) // 2)
    return noise(2 + n_temporal, height, width), noise(2, *chroma, seed=1), noise(2, *chroma, seed=2)
