"""What is measured of a video, and what the kept measures depend on."""

from tests.support.small_study import moving, small_study
from ugcvqa.features.store import FeatureStore
from ugcvqa.media.encode import write_video
from ugcvqa.settings.study import MeasureSettings
from ugcvqa.studies.frames import given_videos
from ugcvqa.studies.measures import Measurement


def test_measures_of_other_settings_are_not_taken(tmp_path):
    def key(networks, **settings):
        return Measurement(networks, FeatureStore(tmp_path), tmp_path, MeasureSettings(**settings)).key

    networks = small_study()
    keys = {key(networks), key(networks, seed=1), key(small_study(limit=3))}
    assert len(keys) == 3
    assert key(networks, permutations=5) in keys


def test_video_without_features_in_the_store_is_a_failure(tmp_path):
    path, failures = tmp_path / "plain.mp4", {}
    write_video(path, moving(0, 3), 4)
    measurement = Measurement(small_study(), FeatureStore(tmp_path), tmp_path, MeasureSettings())
    assert list(measurement.of(given_videos([str(path)]), failures)) == []
    assert "run `ugcvqa extract` first" in failures["videos/plain"]
