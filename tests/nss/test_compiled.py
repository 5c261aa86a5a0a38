"""Compiled kernels against those of torch and the reference code."""

import numpy as np
import pytest
import torch

from tests.support.nss import noise, random_chunk
from ugcvqa.media.imresize import imresize
from ugcvqa.nss import compiled
from ugcvqa.nss.compiled_resize import Shrink, halve
from ugcvqa.nss.compiled_statistics import map_sums as compiled_sums
from ugcvqa.nss.fits import N_SUMS, statistics
from ugcvqa.nss.maps import yuv_to_rgb
from ugcvqa.nss.stats import map_sums


@pytest.mark.parametrize("size", [(7, 7), (8, 13), (33, 70), (20, 1101)])
@pytest.mark.parametrize("flat", [0, 0.5])
def test_compiled_sums_equal_those_of_torch_in_float64(size, flat):
    x = np.random.default_rng(0).normal(100, 20, size).astype(np.float32)
    x[:, : int(flat * size[1])] = 40
    sums = np.empty(N_SUMS)
    compiled_sums(x, sums)
    expected = map_sums(torch.from_numpy(x)[None].double())[0].numpy()
    n_zero = np.count_nonzero(x[:, : int(flat * size[1])])  # where flat, float64 leaves MATLAB's residue
    counts = np.isin(np.arange(N_SUMS), [8, 9, 13, 14, 18, 19, 23, 24])
    assert np.abs(sums - expected)[counts].max() <= (2 * n_zero if flat else 0)
    moments = ~counts & (np.arange(N_SUMS) > 2)
    np.testing.assert_allclose(sums[moments], expected[moments], rtol=2e-6)
    ours, theirs = (statistics(values[None], np.array([x.size]))[0, 2:4] for values in (sums, expected))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize(
    ("height", "width", "scale"), [(31, 47, 0.5), (30, 64, 0.7), (61, 40, 512 / 540), (100, 90, 0.3)]
)
def test_compiled_resize_equals_that_of_torch(height, width, scale):
    levels = noise(height, width).numpy()
    shrink = Shrink.of(height, width, scale)
    np.testing.assert_array_equal(shrink.levels(levels), imresize(torch.from_numpy(levels), scale).numpy())
    real = np.empty(shrink.shape, np.float32)
    shrink.real(levels, real)
    expected = imresize(torch.from_numpy(levels).double(), scale).numpy()
    np.testing.assert_allclose(real, expected, atol=2e-4)


@pytest.mark.parametrize("name", ["0.5", "0.7", "512over540"])
def test_compiled_resize_matches_the_reference(golden, name):
    levels = golden["resize_in"]
    shrink = Shrink.of(*levels.shape, {"0.5": 0.5, "0.7": 0.7, "512over540": 512 / 540}[name])
    np.testing.assert_array_equal(shrink.levels(levels), golden[f"resize_u8_{name}"])
    real = np.empty(shrink.shape, np.float32)
    shrink.real(levels, real)
    np.testing.assert_allclose(real, golden[f"resize_f64_{name}"], atol=2e-4)
    if name == "0.5":
        halve(levels.astype(np.float32, order="C"), real)
        np.testing.assert_allclose(real, golden["resize_f64_0.5"], atol=1e-4)


@pytest.mark.parametrize("colour", ["bt601", "rapique"])
def test_compiled_colours_match_the_reference_exactly(golden, colour):
    y, u, v = (golden[f"colour_{plane}"][None] for plane in "YUV")
    rgb = compiled.rgb_frames(y, u, v, colour, 1.0)
    np.testing.assert_array_equal(np.moveaxis(rgb[0], 0, -1), golden[f"colour_rgb_{colour}"])


@pytest.mark.parametrize("size", [(13, 13), (14, 31), (33, 14), (40, 67)])
def test_compiled_halving_equals_that_of_torch(size):
    x = noise(*size).float()
    out = np.empty(((size[0] + 1) // 2, (size[1] + 1) // 2), np.float32)
    halve(x.numpy(), out)
    np.testing.assert_allclose(out, imresize(x, 0.5).numpy(), atol=1e-4)


@pytest.mark.parametrize("size", [(32, 48), (33, 47), (13, 13)])
@pytest.mark.parametrize("colour", ["bt601", "rapique"])
def test_compiled_colours_equal_those_of_torch(size, colour):
    y, u, v = random_chunk(*size)
    rgb = compiled.rgb_frames(y[:2].numpy(), u.numpy(), v.numpy(), colour, 1.0)
    np.testing.assert_array_equal(rgb, yuv_to_rgb(y[:2], u, v, colour).numpy())
