"""The scorer that travels: small as a pickle, loaded at its first call, in a process pool and on Dask."""

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

import ugcvqa
from ugcvqa import VideoScorer
from ugcvqa.errors import CheckpointError
from ugcvqa.media.encode import write_video
from ugcvqa.settings.data import DecodeLimits


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("clips"), np.random.default_rng(0)
    for name in ("a.mkv", "b.mkv"):
        write_video(folder / name, random.integers(0, 256, (24, 96, 128, 3), dtype=np.uint8), 12)
    (folder / "c.mkv").write_text("no video")
    return [str(folder / name) for name in ("a.mkv", "b.mkv", "c.mkv")]


@pytest.fixture(scope="module")
def wanted(clips):
    return [one.as_dict() for one in ugcvqa.load(nss_engine="compiled").score_many(clips)]


def assert_same(rows, wanted):
    """To rounding, as what else a process has loaded decides how sums are formed."""
    for row, other in zip(rows, wanted, strict=True):
        numbers = {name for name, value in other.items() if isinstance(value, float)}
        assert {name: row[name] for name in numbers} == pytest.approx({name: other[name] for name in numbers}, rel=1e-9)
        assert {name: row[name] for name in row if name not in numbers} == {
            name: other[name] for name in other if name not in numbers
        }


def test_it_is_small_and_loads_at_the_first_call(clips, wanted):
    scorer = VideoScorer(nss_engine="compiled")
    assert "not loaded" in repr(scorer)
    assert_same([scorer(clips[0])], wanted[:1])
    assert "not loaded" not in repr(scorer)
    data = pickle.dumps(scorer)
    assert len(data) < 500  # the model has half a megabyte
    assert "not loaded" in repr(pickle.loads(data))
    assert scorer(clips[2])["error_code"] == "not_video"


def test_a_process_pool_gives_the_rows_of_this_process(clips, wanted):
    scorer = VideoScorer(nss_engine="compiled")
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        assert_same(list(pool.map(scorer, clips)), wanted)


def test_dask_gives_the_rows_of_this_process(clips, wanted, tmp_path):
    distributed = pytest.importorskip("distributed", reason="Dask needs the extra `dask`")
    options = {"dashboard_address": ":0", "local_directory": str(tmp_path)}
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, **options)
    with cluster, distributed.Client(cluster) as client:
        assert_same(client.gather(client.map(VideoScorer(nss_engine="compiled"), clips)), wanted)


def test_arguments_arrive(clips):
    assert VideoScorer(nss_engine="compiled", limits=DecodeLimits(max_frames=3))(clips[0])["error_code"] == "limit"
    with pytest.raises(CheckpointError, match="no such model"):
        VideoScorer("missing")(clips[0])
