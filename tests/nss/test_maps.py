"""Maps, colour conversions and filters against the reference code and numpy."""

import numpy as np
import pytest
import torch

from tests.support.nss import TOLERANCES, as_planes
from ugcvqa.nss.constants import WINDOW, gaussian_8, laplacian_kernel, linear_levels
from ugcvqa.nss.filters import direct_sum, fill_border, pad
from ugcvqa.nss.maps import spatial_maps, yuv_to_rgb


def test_maps_match_the_reference(golden, there):
    frame = there(as_planes(golden["frame_odd_rgb"]))
    maps = torch.stack(list(spatial_maps(frame, torch.float64))).cpu().numpy()
    np.testing.assert_allclose(maps, golden["maps_full"], rtol=0, atol=TOLERANCES["maps"])
    np.testing.assert_array_equal(maps[12:14], golden["maps_full"][12:14])


def test_float32_maps_round_colours_like_float64(golden):
    frame = as_planes(golden["frame_noisy_rgb"])
    single, double = (list(spatial_maps(frame, dtype)) for dtype in (torch.float32, torch.float64))
    for index in (0, 12, 13):
        assert torch.equal(single[index].double(), double[index])


@pytest.mark.parametrize("colour", ["bt601", "rapique"])
def test_colour_conversions_match_the_reference_exactly(golden, colour, there):
    planes = [there(torch.from_numpy(golden[f"colour_{plane}"])[None]) for plane in "YUV"]
    rgb = yuv_to_rgb(*planes, colour)[0].movedim(0, -1)
    np.testing.assert_array_equal(rgb.cpu().numpy(), golden[f"colour_rgb_{colour}"])


def test_kernels_and_curves_match_the_reference(golden):
    np.testing.assert_array_equal(np.array(WINDOW), golden["window7"])
    np.testing.assert_allclose(np.array(gaussian_8()), golden["window8"], rtol=1e-15)
    np.testing.assert_allclose(np.array(laplacian_kernel()), golden["window_log"], rtol=0, atol=1e-15)
    np.testing.assert_allclose(linear_levels(), golden["lab_linear_lut"], rtol=0, atol=1e-15)


def test_direct_sum_repeats_the_order_of_operations_bit_by_bit():
    x = torch.rand(20, 25, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 255
    expected = np.zeros((14, 19))
    for column in range(7):
        for row in range(7):
            expected = expected + x.numpy()[row : row + 14, column : column + 19] * WINDOW[row][column]
    np.testing.assert_array_equal(direct_sum(x, WINDOW).numpy(), expected)


@pytest.mark.parametrize("border", ["replicate", "zero", "wrap"])
def test_borders_match_numpy(border):
    x = torch.rand(3, 4)
    mode = {"replicate": "edge", "zero": "constant", "wrap": "wrap"}[border]
    np.testing.assert_array_equal(pad(x, border, 1, 1, 1, 1).numpy(), np.pad(x.numpy(), 1, mode=mode))
    again = pad(x, "zero", 1, 1, 1, 1)
    fill_border(again, border, 1, 1, 1, 1)
    np.testing.assert_array_equal(again.numpy(), np.pad(x.numpy(), 1, mode=mode))
