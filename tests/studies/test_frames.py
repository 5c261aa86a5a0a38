"""The videos, frames and networks of the study."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from tests.support.small_study import moving, small_study
from ugcvqa.errors import ConfigError
from ugcvqa.features.store import FeatureStore
from ugcvqa.media.encode import write_video
from ugcvqa.settings.features import DeepSettings, FamilySettings, SaliencySettings
from ugcvqa.studies.frames import adopt_maps, build_study, given_videos, spread, study_frames


def test_frames_are_the_last_of_each_second_thinned_evenly():
    assert study_frames(100, Fraction(25), 32) == (24, 49, 74, 99)
    assert study_frames(1000, Fraction(25), 4) == (149, 399, 649, 899)
    assert study_frames(7, Fraction(25), 4) == (3,)
    assert spread(3, 5) == (0, 1, 2)


def test_files_and_folders_become_videos_of_distinct_ids(tmp_path):
    (tmp_path / "videos").mkdir()
    for name in ("videos/grey.mp4", "videos/plain.mp4", "grey.mp4"):
        (tmp_path / name).touch()
    found = given_videos([str(tmp_path / "videos"), str(tmp_path / "grey.mp4"), str(tmp_path / "grey.mp4")]).videos
    assert [video.video_id for video in found] == ["videos/grey", "videos/plain", "videos/grey-2"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no video files"):
        given_videos([str(tmp_path / "empty")])


def test_maps_kept_by_extract_are_taken_from_the_store(tmp_path):
    networks, store, path = small_study(limit=2), FeatureStore(tmp_path), tmp_path / "plain.mp4"
    write_video(path, moving(0, 3), 4)
    maps = np.random.default_rng(0).random((3, 224, 224), dtype=np.float32)
    store.put(networks.saliency.spec, store.content(path), {"video": maps.mean((0, 1)), "maps": maps}, {})
    assert adopt_maps(networks, store, [path, tmp_path / "gone.mp4"], 2) == 1
    np.testing.assert_array_equal(store.get(networks.maps.spec, store.content(path))["maps"], maps[[0, 2]])
    assert adopt_maps(networks, store, [path], 2) == 0


def test_families_of_the_study_differ_by_network_and_number_of_frames():
    settings = FamilySettings(
        deep=DeepSettings("resnet18", "random:0"),
        saliency=SaliencySettings("mobilenet_v3_small", "features.12", "random:0"),
        engine="torch",
    )
    made = [
        build_study(settings, network, limit)
        for network, limit in (("complete", 4), ("as_published", 4), ("complete", 5))
    ]
    assert len({one.deep.spec.key for one in made}) == 3
    assert len({one.maps.spec.key for one in made}) == 2
    frames = {"rgb224": torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)}
    whole, incomplete = (one.deep(frames)[0] for one in made[:2])
    assert whole.shape == incomplete.shape == (1, 512)
    assert not torch.allclose(whole, incomplete)
    assert [facts.is_random for facts in made[0].facts] == [True, True]
    assert "as published" in made[1].facts[0].remark
