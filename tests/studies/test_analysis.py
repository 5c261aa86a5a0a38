"""From measures of videos to numbers: units of the tests, and published frames."""

import math

import numpy as np
import pytest
import torch

from ugcvqa.datasets.catalogue import Dataset, Video
from ugcvqa.errors import LabelError
from ugcvqa.settings.study import MeasureSettings
from ugcvqa.studies.analysis import Collection, sign_flip_p
from ugcvqa.studies.measures import VideoMeasures, measure_arrays
from ugcvqa.studies.published_frames import published_frames


def test_published_file_with_other_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", deep=np.ones((2, 9)))
    with pytest.raises(LabelError, match="arrays deep, saliency and cosine are needed"):
        published_frames(tmp_path / "a.npz", 0)
    np.savez(tmp_path / "b.npz", deep=np.ones((2, 9)), saliency=np.ones((3, 8, 8)), cosine=np.ones(2))
    with pytest.raises(LabelError, match=r"\(3, 8, 8\)"):
        published_frames(tmp_path / "b.npz", 0)
    np.savez(tmp_path / "c.npz", deep=np.ones((0, 9)), saliency=np.ones((0, 8, 8)), cosine=np.ones(0))
    with pytest.raises(LabelError, match="at least one frame"):
        published_frames(tmp_path / "c.npz", 0)


def collected(n_groups, per_group=2):
    """A collection of made-up videos of which several show the same content."""
    found = [Video(f"own/{k}", None, 3.0, f"scene {k % n_groups}") for k in range(n_groups * per_group)]
    collection = Collection(Dataset("own", "MOS", (1, 5), tuple(found)), seed=0)
    for number, video in enumerate(found):
        random = np.random.default_rng(number % n_groups)
        maps = torch.from_numpy(random.random((3, 224, 224), dtype=np.float32))
        arrays = measure_arrays(random.random((3, 30), dtype=np.float32), maps, MeasureSettings())
        arrays |= {"frame_index": np.arange(3), "is_grey": np.zeros(3, bool)}
        arrays |= {"curve_place": np.array([0]), "curve_class": np.array([7])}
        arrays |= {"curves": random.random((1, 3, 2, 5))}
        facts = {"width": 64, "height": 48, "fps": 25.0, "duration_s": 3.0, "is_short": False}
        collection.add(VideoMeasures(video.video_id, "", facts, arrays))
    return collection


def test_videos_of_the_same_content_are_one_unit_of_the_tests():
    tests = collected(8).associations("own", MeasureSettings(permutations=9))
    assert {(one.n_videos, one.n_rows, one.unit) for one in tests} == {(8, 48, "content group")}
    assert all(len(one.null) == 9 for one in tests)
    few = collected(4, 5)
    assert {one.note for one in few.associations("own", MeasureSettings())} == {
        "not tested with 4 content groups, at least 8 are needed"
    }
    quality = few.quality("own", MeasureSettings())
    assert (quality.n_videos, quality.n_frames) == (4, 20)
    assert np.isnan(quality.p_deletion)


def test_no_repairings_means_no_tests():
    assert collected(8).associations("own", MeasureSettings(permutations=0)) == []


def test_sign_flips_have_exact_extremes():
    assert sign_flip_p(np.ones(12), 399, 0) <= 2 / 400
    assert sign_flip_p([1.0, -1.0] * 6, 199, 0) == 1
    assert math.isnan(sign_flip_p(np.ones(5), 199, 0))
