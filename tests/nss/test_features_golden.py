"""NSS features against the reference code, its published values and SciPy."""

import hashlib
import itertools
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from tests.support.nss import (
    PRECISIONS,
    TOLERANCES,
    as_planes,
    assert_close,
    noise,
    nss,
)
from ugcvqa.media.sampling import nss_pieces
from ugcvqa.nss.chunks import SMALLEST_SIDE_PX, ChunkMean


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
    assert_close(mean.result()["video"], video, model.precision, stable)
    return mean.result()["video"]


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
