"""Data modules by plain values: labels, ids and times of what they serve, with a Trainer and without one."""

import itertools
import math

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from ugcvqa.datamodules import (
    CombinedDataModule,
    KoNViD1kDataModule,
    VideoDataModule,
    YouTubeUGCDataModule,
)
from ugcvqa.errors import ConfigError, LabelError
from ugcvqa.media.encode import write_video
from ugcvqa.media.video import read_frames

TINY = {"frames": 3, "phases": 1, "short_side": 0, "crop": 32}
MOS = {f"own/clip{number:02d}": 1 + number / 4 for number in range(16)}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Sixteen clips with labels, of eight scenes."""
    folder = tmp_path_factory.mktemp("videos")
    rows = []
    for number in range(16):
        frames = np.random.default_rng(number).integers(0, 256, (9, 40, 48, 3), dtype=np.uint8)
        write_video(folder / f"clip{number:02d}.mp4", frames, 10)
        rows.append(f"clip{number:02d}.mp4,{1 + number / 4},scene{number // 2}\n")
    (folder / "labels.csv").write_text("file,mos,scene\n" + "".join(rows))
    return folder


def videos_of(loader):
    """Id -> label, frames and times of all videos that a loader serves."""
    found = {}
    for batch in loader:
        frames, times = batch.frames.split(batch.lengths), batch.times_s.split(batch.lengths)
        found |= {one[0]: one[1:] for one in zip(batch.ids, batch.mos.tolist(), frames, times, strict=True)}
    return found


@pytest.mark.parametrize("workers", [0, 2])
def test_predict_loader_alone_explains_its_batches(videos, workers):
    data = VideoDataModule(videos, batch_size=3, num_workers=workers, sampling=TINY)
    data.setup("predict")
    batch = next(iter(data.predict_dataloader()))
    lines = repr(batch).splitlines()
    assert lines[0] == "Batch of 3 videos, 9 frames of 3x32x32 torch.uint8, on cpu"
    assert lines[1] == "  own/clip00: 3 frames, 0.10 to 0.70 s, MOS 1"
    found = videos_of(data.predict_dataloader())
    assert {name: label for name, (label, _, _) in found.items()} == MOS
    images = {index: (time, image) for index, time, image in read_frames(videos / "clip05.mp4", form="shown")}
    _, frames, times = found["own/clip05"]
    for picture, seconds, index in zip(frames, times.tolist(), (1, 4, 7), strict=True):
        time, image = images[index]
        assert seconds == pytest.approx(time)
        assert np.array_equal(picture.numpy(), image[:, 4:36, 8:40])


def test_parts_of_a_split_hold_each_video_once_and_no_scene_twice(videos):
    data = VideoDataModule(videos, batch_size=2, sampling=TINY)
    data.setup("fit")
    loaders = data.train_dataloader(), data.val_dataloader(), data.test_dataloader()
    parts = [videos_of(loader) for loader in loaders]
    assert sorted(name for part in parts for name in part) == sorted(MOS)
    scenes = [{int(name[-2:]) // 2 for name in part} for part in parts]
    assert all(one.isdisjoint(other) for one, other in itertools.combinations(scenes, 2))
    for part in parts:
        assert {name: MOS[name] for name in part} == {name: label for name, (label, _, _) in part.items()}
    streamed = videos_of(data.predict_dataloader())
    for name, (_, frames, times) in parts[2].items():
        assert torch.equal(frames, streamed[name][1])
        assert torch.equal(times, streamed[name][2])


def test_frame_features_of_a_row_are_served_by_name(videos, monkeypatch):
    monkeypatch.setattr(
        "ugcvqa.settings.features.DeepSettings.__init__.__defaults__", ("resnet18", "random:0", "float32", False, ())
    )
    data = VideoDataModule(videos, batch_size=4, sampling="VSFACNN")
    data.setup("fit")
    batch = next(iter(data.val_dataloader()))
    assert batch.frames.shape == (9 * len(batch.ids), 1024)
    assert batch.times_s.tolist() == pytest.approx([index / 10 for index in range(9)] * len(batch.ids))
    assert f"{batch.ids[0]}: 9 frames, 0.00 to 0.80 s, MOS" in repr(batch)


def test_any_module_may_say_what_it_needs(videos):
    class Brightness(LightningModule):
        sampling = TINY

        def predict_step(self, batch, batch_idx):
            return batch.ids, [float(frames.float().mean()) for frames in batch.frames.split(batch.lengths)]

    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    found = Trainer(accelerator="cpu", devices=1, **quiet).predict(Brightness(), VideoDataModule(videos, batch_size=5))
    assert sorted(name for ids, _ in found for name in ids) == sorted(MOS)
    assert all(100 < value < 156 for _, values in found for value in values)


def test_folder_without_labels_predicts_and_does_not_train(videos, tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a.mp4", "sub/a.mp4", "sub/a.mkv"):
        (tmp_path / name).write_bytes((videos / "clip00.mp4").read_bytes())
    data = VideoDataModule(tmp_path, sampling=TINY)
    data.setup("predict")
    found = videos_of(data.predict_dataloader())
    assert sorted(found) == ["own/a", "own/sub/a.mkv", "own/sub/a.mp4"]
    assert all(math.isnan(label) for label, _, _ in found.values())
    with pytest.raises(LabelError, match="there are no labels"):
        data.setup("fit")


def test_unreadable_videos_are_told_and_left_out(videos, tmp_path, caplog):
    for file in videos.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "clip03.mp4").write_text("no video")
    data = VideoDataModule(tmp_path, sampling=TINY)
    data.setup("fit")
    assert list(data.failures) == ["own/clip03"]
    assert "own/clip03: left out" in caplog.text
    assert len(data.train) + len(data.val) + len(data.test) == 15
    assert len(videos_of(data.predict_dataloader())) == 15


def test_public_sets_find_their_videos(tmp_path):
    clip = np.random.default_rng(0).integers(0, 256, (4, 40, 48, 3), dtype=np.uint8)
    write_video(tmp_path / "12345.mp4", clip, 10)
    write_video(tmp_path / "Gaming_360P-00ab.mkv", clip, 10)
    (tmp_path / "konvid_1k.csv").write_text("flickr_id,mos\n12345,3.5\n")
    (tmp_path / "youtube_ugc.csv").write_text("vid,mos\nGaming_360P-00ab,2.5\n")
    ids = [
        [(task.video_id, task.mos) for task in kind(tmp_path).tasks]
        for kind in (KoNViD1kDataModule, YouTubeUGCDataModule, CombinedDataModule)
    ]
    assert ids[0] == [("konvid_1k/12345", 3.5)]
    assert ids[1] == [("youtube_ugc/Gaming_360P-00ab", 2.5)]
    assert [video_id for video_id, _ in ids[2]] == ["konvid_1k/12345", "youtube_ugc/Gaming_360P-00ab"]
    assert YouTubeUGCDataModule(tmp_path, subset="360P").dataset.name == "youtube_ugc_360p"


def test_values_are_kept_as_plain_hyperparameters(tmp_path):
    data = VideoDataModule(tmp_path, limits={"max_frames": 5})
    assert data.hparams["root"] == str(tmp_path)
    assert data.limits.max_frames == 5
    for wrong in ({"sampling": {"nonsense": 1}}, {"limits": {"nonsense": 1}}, {"batch_size": 0}):
        with pytest.raises(ConfigError):
            VideoDataModule(tmp_path, **wrong)


@pytest.mark.parametrize("asked", ["nonsense", "NSS", {"frame": 1}])
def test_sampling_that_is_unknown_is_refused_at_once(asked, tmp_path):
    with pytest.raises(ConfigError, match="sampling"):
        VideoDataModule(tmp_path, sampling=asked)
