import hashlib
import importlib.util
import itertools
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from tests.support.golden import golden_arrays
from ugcvqa.errors import ConfigError
from ugcvqa.media.imresize import imresize
from ugcvqa.media.sampling import nss_pieces
from ugcvqa.nss import compiled, filters, maps, stats
from ugcvqa.nss.chunks import SMALLEST_SIDE_PX, ChunkMean
from ugcvqa.nss.compiled_resize import Shrink, halve
from ugcvqa.nss.compiled_statistics import map_sums as compiled_sums
from ugcvqa.nss.constants import WINDOW, gaussian_8, laplacian_kernel, linear_levels
from ugcvqa.nss.features import NSS
from ugcvqa.nss.filters import direct_sum, fill_border, pad
from ugcvqa.nss.fits import N_SUMS, fit_aggd, fit_ggd, statistics
from ugcvqa.nss.maps import spatial_maps, yuv_to_rgb
from ugcvqa.nss.stats import map_sums

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


@pytest.fixture(scope="module")
def golden():
    return golden_arrays("nss_public")


@pytest.fixture(scope="module")
def scipy_nss(request):
    path = request.config.rootpath / "tools" / "reference_nss.py"
    spec = importlib.util.spec_from_file_location("reference_nss", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def nss(precision="float32", **settings):
    """The module for a name of PRECISIONS."""
    if precision == "compiled":
        return NSS(engine="compiled", **settings)
    return NSS(precision=precision, **settings)


@pytest.fixture
def model_there(there, device):
    """The same on the device; compiled kernels are a CPU's."""

    def model(precision="float32", **settings):
        if device == "cuda" and precision == "compiled":
            pytest.skip("compiled kernels compute on a CPU")
        return there(nss(precision, **settings))

    return model


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


def read_planes(golden, name, tmp_path):
    """Decodes a stored file to (N, H, W) luma and two chroma arrays, checked against the stored digest."""
    path = tmp_path / f"{name}.mp4"
    path.write_bytes(golden[f"{name}_mp4"].tobytes())
    with av.open(path) as container:
        frames = [frame.reformat(format="yuv420p").to_ndarray() for frame in container.decode(video=0)]
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(frame.tobytes())
    assert digest.hexdigest() == str(golden[f"{name}_yuv_sha256"])
    return split_planes(np.stack(frames))


def split_planes(yuv):
    """(N, 3H/2, W) rows of Y, U, V bytes -> three plane stacks."""
    n, rows, width = yuv.shape
    height = rows * 2 // 3
    chroma = yuv[:, height:].reshape(n, 2, height // 2, width // 2)
    return {"y": yuv[:, :height], "u": chroma[:, 0], "v": chroma[:, 1]}


def chunk_vectors(model, planes, rate, there):
    for piece in nss_pieces(len(planes["y"]), Fraction(int(rate))):
        yield model(*(there(torch.from_numpy(planes[form][list(piece.frames[form])])) for form in "yuv")).cpu()


def assert_video(model, planes, rate, chunks, video, stable, there):
    mean = ChunkMean()
    for vector, reference in zip(chunk_vectors(model, planes, rate, there), chunks, strict=True):
        assert_close(vector, reference, model.precision, stable)
        mean.add(vector.numpy())
    assert_close(mean.result(), video, model.precision, stable)
    return mean.result()


# --- numbers against the reference code ---------------------------------------------------------------------------


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["clean", "noisy", "synthetic", "odd"])
def test_frames_match_the_reference(golden, name, precision, model_there, there):
    features = model_there(precision).spatial(there(as_planes(golden[f"frame_{name}_rgb"])[None]))[0]
    assert_close(features, golden[f"frame_{name}_feats"], precision, golden[f"frame_{name}_feats_stable"])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("key", "min_side"), [("stack_feats", 512), ("stack_feats_min100", 100)])
def test_luma_stacks_match_the_reference(golden, key, min_side, precision, model_there, there):
    features = model_there(precision, min_side=min_side).temporal(there(torch.from_numpy(golden["stack_luma"])))
    assert_close(features, golden[key], precision, golden[f"{key}_stable"])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("suffix", "settings"),
    [("", {}), ("_min200", {"min_side": 200}), ("_min200_rapique", {"min_side": 200, "colour": "rapique"})],
)
def test_clip_matches_the_reference(golden, suffix, settings, precision, model_there, there):
    model = model_there(precision, **settings)
    chunks, stable = golden[f"clip_chunks{suffix}"], golden[f"clip_chunks{suffix}_stable"]
    planes = split_planes(golden["clip_yuv"])
    assert_video(model, planes, golden["clip_rate"], chunks, golden[f"clip_video{suffix}"], stable, there)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_letterboxed_static_clip_has_the_reference_pattern(golden, precision, model_there, there):
    planes = split_planes(golden["degenerate_yuv"])
    chunks, stable = golden["degenerate_chunks"], golden["degenerate_chunks_stable"]
    rate, video = golden["degenerate_rate"], golden["degenerate_video"]
    features = assert_video(model_there(precision), planes, rate, chunks, video, stable, there)
    np.testing.assert_array_equal(np.isnan(features), np.isnan(video))
    np.testing.assert_array_equal(np.isinf(features), np.isinf(video))


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_whole_file_matches_the_reference(golden, precision, tmp_path, model_there, there):
    planes = read_planes(golden, "full_test", tmp_path)
    rate = golden["full_test_info"][2]
    chunks, stable = golden["full_test_chunks"], golden["full_test_chunks_stable"]
    assert_video(model_there(precision), planes, rate, chunks, golden["full_test_video"], stable, there)


@pytest.fixture(scope="module")
def konvid_planes(golden, tmp_path_factory):
    return read_planes(golden, "konvid", tmp_path_factory.mktemp("konvid"))


def test_konvid_chunks_match_the_reference_in_float32(golden, konvid_planes, model_there, there):
    vectors = chunk_vectors(model_there(), konvid_planes, golden["konvid_info"][2], there)
    for vector, reference in zip(itertools.islice(vectors, 2), golden["konvid_chunks"][:2], strict=True):
        assert_close(vector, reference, "float32", golden["konvid_chunks_stable"])


def test_konvid_video_matches_the_published_row(golden, konvid_planes, model_there, there):
    stable = golden["konvid_chunks_stable"]
    rate, chunks, video = golden["konvid_info"][2], golden["konvid_chunks"], golden["konvid_video"]
    features = assert_video(model_there("float64"), konvid_planes, rate, chunks, video, stable, there)
    published = golden["konvid_video_published"].astype(np.float64)
    limits = TOLERANCES["published"]
    index = np.arange(len(published))
    is_lab = (index < 1360) & (index % 680 >= 544)
    is_product = np.isin(index % 34, np.arange(4, 20)) & ~is_lab
    rest = ~is_lab & ~is_product
    difference = np.abs(features - published)
    assert (difference[rest] <= limits["relative"] * np.abs(published[rest])).all()
    assert difference[is_product].max() <= limits["products"]
    lab_bound = np.maximum(limits["lab_absolute"], limits["lab_relative"] * np.abs(published[is_lab]))
    assert (difference[is_lab] <= lab_bound).all()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("size", ["360x640", "480x640", "512x911"])
def test_grey_frames_match_the_published_values(golden, size, precision, model_there, there):
    height, width = (int(n) for n in size.split("x"))
    frames = there(noise(1, 1, height, width)).expand(1, 3, height, width)
    features = model_there(precision).spatial(frames)[0, 408:].cpu().numpy()
    published = golden[f"grey_{size}_published"]
    np.testing.assert_array_equal(np.isnan(features), np.isnan(published))
    np.testing.assert_array_equal(np.isinf(features), np.isinf(published))
    if precision == "float64":
        finite = np.isfinite(published)
        np.testing.assert_allclose(features[finite], published[finite], rtol=TOLERANCES["grey"], atol=0)
    else:
        assert_close(features, published, precision, ~np.isin(np.arange(272) % 34, np.arange(4, 20)))


# --- parts against the reference code and scipy -------------------------------------------------------------------


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


@pytest.mark.parametrize("size", [(SMALLEST_SIDE_PX, SMALLEST_SIDE_PX), (40, 1101), (701, 30)])
def test_unusual_sizes_match_scipy(scipy_nss, size):
    frame = noise(*size, 3, seed=5).numpy()
    features = nss("float64").spatial(as_planes(frame)[None])[0].numpy()
    expected = scipy_nss.spatial_features(frame)
    np.testing.assert_allclose(features, expected, rtol=TOLERANCES["scipy"], atol=TOLERANCES["scipy"])


def test_temporal_features_match_scipy(scipy_nss):
    luma = noise(8, 33, 47)
    features = nss("float64").temporal(luma).numpy()
    expected = scipy_nss.temporal_features(luma.numpy())
    np.testing.assert_allclose(features, expected, rtol=TOLERANCES["scipy"], atol=TOLERANCES["scipy"])


@pytest.mark.parametrize("border", ["replicate", "zero", "wrap"])
def test_borders_match_numpy(border):
    x = torch.rand(3, 4)
    mode = {"replicate": "edge", "zero": "constant", "wrap": "wrap"}[border]
    np.testing.assert_array_equal(pad(x, border, 1, 1, 1, 1).numpy(), np.pad(x.numpy(), 1, mode=mode))
    again = pad(x, "zero", 1, 1, 1, 1)
    fill_border(again, border, 1, 1, 1, 1)
    np.testing.assert_array_equal(again.numpy(), np.pad(x.numpy(), 1, mode=mode))


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
        halve(levels.astype(np.float32), real)
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


# --- fits against closed forms and brute force --------------------------------------------------------------------


def test_moments_of_known_densities_give_their_shape():
    fits = fit_ggd(np.array([np.sqrt(2 / np.pi), 1.0, 0.0]), np.array([1.0, 2.0, 0.0]))
    np.testing.assert_allclose(fits, [[2.0, 1.0], [1.0, np.sqrt(2.0)], [0.1, 0.0]], rtol=1e-12)


def test_table_look_up_equals_the_search_over_the_grid(scipy_nss):
    grid, ratios = scipy_nss.GRID, scipy_nss.GGD_RATIO
    rho = np.concatenate((np.exp(np.linspace(np.log(1.2), np.log(300), 400)), ratios[::997]))
    expected = [grid[np.argmin(np.abs(r - ratios))] for r in rho]
    np.testing.assert_allclose(fit_ggd(np.ones(len(rho)), rho)[:, 0], expected, rtol=1e-12)


def test_products_of_one_sign_leave_the_other_side_undefined():
    # 10 values of +2 among 20 pixels
    alpha, eta, left, right = fit_aggd(np.array([20.0, 40.0, 0.0, 0.0, 10.0]), np.array(20))
    assert (alpha, right) == (0.1, 2.0)
    assert np.isnan([eta, left]).all()


def test_symmetric_products_have_zero_mean(scipy_nss):
    values = np.random.default_rng(0).laplace(size=1000)
    values = np.concatenate((values, -values))
    positive, negative = values[values > 0], values[values < 0]
    sums = [np.abs(values).sum(), (positive**2).sum(), (negative**2).sum(), len(negative), len(values)]
    fit = fit_aggd(np.array(sums), np.array(len(values)))
    np.testing.assert_allclose(fit, scipy_nss.fit_aggd(values), rtol=1e-9, atol=1e-12)
    assert abs(fit[1]) < 1e-12


# --- behaviour ----------------------------------------------------------------------------------------------------


def random_chunk(height, width, n_temporal=8):
    chroma = ((height + 1) // 2, (width + 1) // 2)
    return noise(2 + n_temporal, height, width), noise(2, *chroma, seed=1), noise(2, *chroma, seed=2)


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
def test_flat_maps_have_the_documented_undefined_values(precision):
    flat, sums = np.zeros((20, 30), np.float64 if precision == "float64" else np.float32), np.empty(N_SUMS)
    if precision == "compiled":
        compiled_sums(flat, sums)
    else:
        sums = map_sums(torch.from_numpy(flat)[None])[0].numpy()
    expected = [0.1, 0, 2.0**-52, np.inf] + [0.1, np.nan, np.nan, np.nan] * 4 + [0.1, 0] * 7
    np.testing.assert_array_equal(statistics(sums[None], np.array([600]))[0], expected)


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


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_one_tile_over_all_maps_equals_tile_by_tile(precision, monkeypatch):
    """The form used on a GPU, run here."""
    luma = noise(8, 90, 613)
    frame = noise(1, 3, 90, 613)
    model = NSS(precision=precision)
    expected = [model.temporal(luma), model.spatial(frame)[0]]
    for module in (filters, stats):
        monkeypatch.setattr(module, "map_groups", lambda maps: [slice(None)])
    for module in (filters, stats, maps):
        monkeypatch.setattr(module, "tiles", lambda x, height, width, halo: [(0, height, 0, width)])
    for whole, tiled in zip((model.temporal(luma), model.spatial(frame)[0]), expected, strict=True):
        assert_close(whole, tiled, precision)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_gpu_agrees_with_cpu(precision):
    model = nss(precision, min_side=100)
    chunk = random_chunk(121, 163)
    on_gpu = model(*(plane.cuda() for plane in chunk))
    assert on_gpu.is_cuda
    assert_close(on_gpu.cpu(), model(*chunk), precision)


# --- pooling ------------------------------------------------------------------------------------------------------


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
    np.testing.assert_allclose(mean.result(), expected, rtol=1e-14)
    assert np.isnan(mean.result()[1])
    assert np.isinf(mean.result()[2])
    assert mean.n_chunks == 5


def test_chunk_mean_of_one_chunk_is_that_chunk():
    mean = ChunkMean()
    assert np.isnan(mean.result()).all()
    chunk = np.random.default_rng(0).random(NSS.dim)
    mean.add(chunk)
    assert np.array_equal(mean.result(), chunk)


def test_chunk_mean_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"shape \(1836,\)"):
        ChunkMean().add(np.zeros(680))
