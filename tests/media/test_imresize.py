import itertools

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from tests.support.golden import golden_arrays
from ugcvqa.media.imresize import imresize, imresize_to

SCALES = {"0.5": 0.5, "0.7": 0.7, "512over540": 512 / 540, "2.0": 2.0}
TIES = 5e-5  # share of samples
TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-4}


@pytest.fixture(scope="module")
def golden():
    return golden_arrays("nss_public")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", SCALES)
def test_real_numbers_match_the_reference(golden, name, dtype):
    resized = imresize(torch.from_numpy(golden["resize_in"]).to(dtype), SCALES[name])
    assert resized.dtype == dtype
    np.testing.assert_allclose(resized.numpy(), golden[f"resize_f64_{name}"], rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("name", SCALES)
def test_8bit_pixels_match_the_reference_exactly(golden, name):
    resized = imresize(torch.from_numpy(golden["resize_in"]), SCALES[name])
    np.testing.assert_array_equal(resized.numpy(), golden[f"resize_u8_{name}"])


@pytest.mark.parametrize(("frames", "expected"), [("frames", "imresize224"), ("frame_odd", "imresize224_odd")])
def test_sizes_with_two_scales_match_the_reference_except_at_ties(frames, expected):
    deep = golden_arrays("deep_public")
    rgb = torch.from_numpy(deep[frames]).movedim(-1, -3)
    resized = imresize_to(rgb, 224, 224).movedim(-3, -1).numpy()
    difference = np.abs(resized.astype(int) - deep[expected])
    # the reference leaves exact .5 ties of the first pass to round-off: 23 of 903168 samples
    assert difference.max() <= 1
    assert (difference > 0).mean() < TIES


def test_smaller_scale_is_done_first():
    plane = torch.randint(0, 256, (90, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    rows_first = imresize_to(imresize_to(plane, 30, 40), 30, 35)
    assert torch.equal(imresize_to(plane, 30, 35), rows_first)
    columns_first = imresize_to(imresize_to(plane, 90, 10), 60, 10)
    assert torch.equal(imresize_to(plane, 60, 10), columns_first)


def test_half_scale_has_the_published_taps():
    taps = torch.tensor([-3, -9, 29, 111, 111, 29, -9, -3], dtype=torch.float64) / 256
    impulse = torch.eye(32, dtype=torch.float64)
    # an impulse in row 2y - 3 + k reaches output row y with weight k; rows far from the border
    response = imresize(impulse[:, :, None].expand(32, 32, 8).contiguous(), 0.5)[:, 8, 2]
    expected = torch.zeros(32, dtype=torch.float64)
    expected[13:21] = taps
    np.testing.assert_allclose(response.numpy(), expected.numpy(), rtol=0, atol=1e-15)


def test_output_size_is_the_ceiling_of_scale_times_size():
    assert imresize(torch.zeros(1080, 1920), 512 / 1080).shape == (512, 911)
    assert imresize(torch.zeros(3, 5), 0.5).shape == (2, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3)])
def test_constant_planes_stay_constant_even_when_tiny(size):
    plane = torch.full(size, 77, dtype=torch.uint8)
    for scale in (0.3, 0.5, 0.7, 2.0):
        assert (imresize(plane, scale) == 77).all()
        np.testing.assert_allclose(imresize(plane.double(), scale).numpy(), 77, rtol=1e-14)


def test_scale_one_returns_a_copy():
    plane = torch.rand(4, 5)
    same = imresize(plane, 1)
    assert torch.equal(same, plane)
    assert same.data_ptr() != plane.data_ptr()


def test_leading_axes_are_independent():
    planes = torch.rand(2, 3, 9, 11, dtype=torch.float64)
    for scale in (0.5, 0.6):
        assert torch.equal(imresize(planes, scale)[1, 2], imresize(planes[1, 2], scale))


def test_results_are_ordinary_tensors_after_use_in_inference_mode():
    plane = torch.rand(23, 29)
    with torch.inference_mode():
        inside = imresize(plane, 0.7)
    outside = imresize(plane.requires_grad_(), 0.7)
    assert torch.equal(outside, inside)
    assert not outside.is_inference()
    assert not outside.requires_grad


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="positive finite"):
        imresize(torch.zeros(4, 4), 0.0)
    with pytest.raises(ValueError, match="uint8, float32 or float64"):
        imresize(torch.zeros(4, 4, dtype=torch.int64), 0.5)
    with pytest.raises(ValueError, match="without empty axes"):
        imresize(torch.zeros(0, 4), 0.5)
    with pytest.raises(ValueError, match="at least 1 x 1"):
        imresize_to(torch.zeros(4, 4), 0, 4)


def test_several_large_planes_take_no_more_memory_than_one():
    planes = torch.randint(0, 256, (3, 1100, 2000), dtype=torch.uint8)
    expected = torch.stack([imresize_to(plane, 24, 24) for plane in planes])
    peaks = []
    for part in (planes[:1], planes):
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            found = imresize_to(part, 24, 24)
        sizes = [event.nbytes() for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
        peaks.append(max(itertools.accumulate(sizes)))
    assert torch.equal(found, expected)
    assert peaks[1] < 1.1 * peaks[0]
