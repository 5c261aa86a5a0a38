"""How the NSS of a chunk are put together, and what is refused."""

import numpy as np
import pytest
import torch

from tests.support.nss import PRECISIONS, UNBOUNDED, assert_close, noise, nss, random_chunk
from ugcvqa.errors import ConfigError
from ugcvqa.nss.chunks import SMALLEST_SIDE_PX
from ugcvqa.nss.features import NSS
from ugcvqa.nss.maps import yuv_to_rgb


@pytest.mark.parametrize("precision", PRECISIONS)
def test_thread_count_does_not_change_a_bit(precision):
    model = nss(precision, min_side=200)
    y, u, v = random_chunk(231, 601)
    y[:, :60] = 40
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(model(y, u, v).numpy().tobytes())
    finally:
        torch.set_num_threads(before)
    assert results[0] == results[1]


def test_frames_of_a_batch_do_not_influence_each_other():
    model = nss()
    frames = noise(3, 3, 40, 52)
    together = model.spatial(frames)
    assert torch.equal(together[1], model.spatial(frames[1:2])[0])
    assert model.spatial(frames[:0]).shape == (0, 680)


def test_memory_layout_of_the_input_does_not_matter():
    model = nss("float64")
    frame = noise(40, 52, 3)
    assert torch.equal(
        model.spatial(frame.movedim(-1, 0)[None]), model.spatial(frame.movedim(-1, 0)[None].contiguous())
    )


@pytest.mark.parametrize("n_temporal", [0, 1, 5])
def test_missing_temporal_frames_count_as_zero(n_temporal):
    y, u, v = random_chunk(41, 33, n_temporal)
    filled = torch.cat((y, torch.zeros(8 - n_temporal, 41, 33, dtype=torch.uint8)))
    for min_side in (512, 30):
        model = nss(min_side=min_side)
        np.testing.assert_array_equal(model(y, u, v).numpy(), model(filled, u, v).numpy())


def test_chunk_vector_is_mean_difference_and_temporal_part():
    y, u, v = random_chunk(35, 44)
    model = nss()
    vector = model(y, u, v)
    spatial = model.spatial(yuv_to_rgb(y[:2], u, v, "bt601"))
    np.testing.assert_allclose(vector[:680].numpy(), spatial.mean(0).numpy(), rtol=1e-12)
    assert torch.equal(vector[680:1360], (spatial[0] - spatial[1]).abs())
    assert torch.equal(vector[1360:], model.temporal(y[2:]))
    assert (vector.dtype, vector.shape, vector.is_inference()) == (torch.float64, (NSS.dim,), False)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("level", [0, 16, 235, 255])
def test_constant_frames_give_a_vector_without_surprises(level, precision):
    y = torch.full((10, 48, 64), level, dtype=torch.uint8)
    chroma = torch.full((2, 24, 32), 128, dtype=torch.uint8)
    vector = nss(precision)(y, chroma, chroma)
    finite = vector[vector.isfinite()]
    assert len(finite) > 700
    assert finite.abs().max() < UNBOUNDED


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (8, 8), (SMALLEST_SIDE_PX - 1, 100)])
def test_frames_smaller_than_the_filters_are_refused(size):
    with pytest.raises(ValueError, match=f"at least 13 x 13 px, got {size[0]} x {size[1]}"):
        nss()(*random_chunk(*size))
    with pytest.raises(ValueError, match="at least 13 x 13"):
        nss().spatial(noise(1, 3, *size))
    with pytest.raises(ValueError, match="at least 13 x 13"):
        nss().temporal(noise(8, *size))


def test_bands_that_shrink_below_the_filters_are_refused():
    with pytest.raises(ValueError, match="temporal bands of at least 13"):
        nss(min_side=13).temporal(noise(8, 40, 40))


def test_bad_chunks_are_refused():
    model = nss()
    y, u, v = random_chunk(32, 32)
    for chunk, message in (
        ((y.float(), u, v), "y must be a 3-D uint8"),
        ((y, u[0], v), "u must be a 3-D uint8"),
        ((y[:1], u, v), "2 spatial and at most 8"),
        ((torch.cat((y, y[:1])), u, v), "got 11 frames"),
        ((y, u[:, :15], v), r"must be \(2, 16, 16\)"),
    ):
        with pytest.raises(ValueError, match=message):
            model(*chunk)
    with pytest.raises(ValueError, match="rgb must be"):
        model.spatial(noise(3, 32, 32))
    with pytest.raises(ValueError, match="luma must be"):
        model.temporal(noise(9, 32, 32))


@pytest.mark.parametrize(
    "settings", [{"colour": "rgb"}, {"precision": "float16"}, {"min_side": 12}, {"min_side": 512.0}, {"min_side": True}]
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(ConfigError, match=f"NSS {next(iter(settings))} must be"):
        nss(**settings)


def test_module_holds_no_parameters_and_survives_casts():
    frame = noise(1, 3, 24, 24)
    model = nss()
    before = model.spatial(frame)
    assert not list(model.parameters())
    assert torch.equal(model.half().spatial(frame), before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_gpu_agrees_with_cpu(precision):
    model = nss(precision, min_side=100)
    chunk = random_chunk(121, 163)
    on_gpu = model(*(plane.cuda() for plane in chunk))
    assert on_gpu.is_cuda
    assert_close(on_gpu.cpu(), model(*chunk), precision)
