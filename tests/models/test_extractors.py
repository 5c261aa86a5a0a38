"""Extractors as a library user meets them: predict, forward, checkpoints; numbers are those of the store."""

import logging

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from ugcvqa.datamodules import VideoDataModule
from ugcvqa.deep.backbones import load_backbone
from ugcvqa.deep.imagenet import normalise
from ugcvqa.errors import CheckpointError, ConfigError, VideoError
from ugcvqa.features.extraction import extract_files
from ugcvqa.features.store import FeatureStore
from ugcvqa.media.encode import write_video
from ugcvqa.models import (
    CNNExtractor,
    Extractor,
    NSSExtractor,
    SaliencyExtractor,
    UVQExtractor,
    VSFACNNExtractor,
    VSFACNNSaliencyExtractor,
)
from ugcvqa.models.extraction import extract_dataset
from ugcvqa.settings.data import DecodeLimits, LoaderSettings

QUIET = {
    **{"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False},
    **{"accelerator": "cpu", "devices": 1},
}
SMALL = {"backbone": "resnet18", "weights": "random:0", "engine": "torch"}
MAPS = {"saliency_backbone": "resnet18", "saliency_weights": "random:1", "method": "top:2"}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Three clips of one second and one file that is no video; without labels."""
    folder = tmp_path_factory.mktemp("videos")
    random = np.random.default_rng(0)
    for number in range(3):
        frames = random.integers(0, 256, (12 + number, 48, 64, 3), dtype=np.uint8)
        write_video(folder / f"clip{number}.mp4", frames, 10)
    (folder / "text.mp4").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def frames():
    return torch.from_numpy(np.random.default_rng(1).integers(0, 256, (13, 3, 64, 80), dtype=np.uint8))


def predicted(extractor, data):
    return {each.video_id: each for each in Trainer(**QUIET).predict(extractor, data)}


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (3, 2)])
def test_predict_gives_id_vector_and_frames_of_each_video(videos, batch_size, workers, caplog):
    extractor = VSFACNNExtractor(**SMALL)
    with caplog.at_level(logging.WARNING):
        found = predicted(extractor, VideoDataModule(videos, batch_size=batch_size, num_workers=workers))
    assert sorted(found) == ["own/clip0", "own/clip1", "own/clip2", "own/text"]
    assert found["own/text"].video is None
    assert "text.mp4" in found["own/text"].reason
    assert "own/text" in caplog.text
    for number in range(3):
        one = found[f"own/clip{number}"]
        assert one.frames.shape == (12 + number, 1024)
        assert one.video.dtype == torch.float64
        assert np.isnan(one.mos)
        torch.testing.assert_close(one.video, one.frames.double().mean(0))
        ((_, result),) = extract_files([videos / f"clip{number}.mp4"], extractor.families)
        assert np.array_equal(one.video.numpy(), result.features["vsfacnn"]["video"])
        assert repr(one).startswith(f"VideoFeatures(own/clip{number}: vsfacnn")


def test_what_the_store_has_is_taken_from_it(videos, tmp_path, monkeypatch):
    extractor, data = VSFACNNExtractor(**SMALL), VideoDataModule(videos, store=tmp_path)
    arguments = (LoaderSettings(), DecodeLimits(), {"accelerator": "cpu", "devices": 1})
    extract_dataset(data.dataset, extractor.families, FeatureStore(tmp_path), *arguments)
    fresh = predicted(extractor, VideoDataModule(videos))
    monkeypatch.setattr("ugcvqa.models.extractor.compute", lambda *_: [None])
    for name, one in predicted(extractor, data).items():
        assert one.reason or torch.equal(one.frames, fresh[name].frames)


def test_several_families_share_one_pass(videos):
    families = NSSExtractor().families | CNNExtractor(**SMALL).families
    one = predicted(Extractor(families), VideoDataModule(videos))["own/clip0"]
    assert one.video.shape == (1836 + 512,)
    assert set(one.features) == {"nss", "cnn"}


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: VSFACNNExtractor(**SMALL), (13, 1024)),
        (lambda: CNNExtractor(**SMALL), (13, 512)),
        (lambda: SaliencyExtractor(**SMALL, method="top:2"), (13, 224, 224)),
        (lambda: VSFACNNSaliencyExtractor(**SMALL, **MAPS), (13, 1024)),
        (NSSExtractor, (1, 1836)),
        (lambda: UVQExtractor("1.5", weights="random:0", engine="torch"), (1, 512)),
    ],
    ids=["vsfacnn", "cnn", "saliency", "vsfacnn_saliency", "nss", "uvq15"],
)
def test_forward_takes_frames_and_pieces(make, shape, frames, videos):
    extractor = make()
    rows = extractor(frames, fps=13)
    assert rows.shape == shape
    assert torch.equal(rows, extractor(frames.movedim(1, 3), fps=13))
    data = VideoDataModule(videos, batch_size=2)
    data.trainer = Trainer(**QUIET)
    data.trainer.strategy.connect(extractor)
    data.setup("predict")
    batch = next(iter(data.predict_dataloader()))
    assert "own/clip0" in repr(batch)
    assert " s" in repr(batch)
    first = extractor(batch)[0]
    assert first.shape[1:] == shape[1:]


def test_forward_of_frames_is_the_network_on_the_frames(frames):
    network = load_backbone("resnet18", "random:0")
    with torch.no_grad():
        x = normalise(frames)
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            x = getattr(network, name)(x)
    expected = torch.cat([x.mean((2, 3)), x.flatten(2).std(2)], 1)
    torch.testing.assert_close(VSFACNNExtractor(**SMALL)(frames), expected, rtol=1e-4, atol=1e-5)


def test_forward_takes_batches_of_clips(frames, videos):
    """As a data module serves them without a Trainer, and as one tensor."""
    extractor = VSFACNNExtractor(**SMALL)
    data = VideoDataModule(videos, batch_size=2, sampling={"frames": 2, "short_side": 0, "crop": 40})
    data.setup("predict")
    batch = next(iter(data.predict_dataloader()))
    features = extractor(batch)
    assert [each.shape for each in features] == [(2, 1024), (2, 1024)]
    assert torch.equal(torch.cat(features), extractor(batch.frames))
    assert torch.equal(
        torch.stack(extractor(frames[None, :6].expand(2, -1, -1, -1, -1))[1:]), extractor(frames[:6])[None]
    )
    with pytest.raises(ConfigError, match="nss features need consecutive frames"):
        NSSExtractor()(batch)


def test_predict_takes_a_plain_loader_of_frames(frames):
    extractor = CNNExtractor(**SMALL)
    found = Trainer(**QUIET).predict(extractor, DataLoader([frames[:4], frames[4:8]]))
    assert torch.equal(torch.cat(found), extractor(frames[:8]))


def test_forward_refuses_what_is_no_video(frames):
    with pytest.raises(VideoError, match="too short for NSS"):
        NSSExtractor()(frames[:3])
    with pytest.raises(VideoError, match="shape"):
        NSSExtractor()(frames[0])


def test_checkpoint_holds_plain_values_and_weights(videos, tmp_path):
    extractor, trainer = VSFACNNExtractor(**SMALL, keep_frames=False), Trainer(**QUIET)
    trainer.predict(extractor, VideoDataModule(videos))
    trainer.save_checkpoint(tmp_path / "extractor.ckpt")
    loaded = VSFACNNExtractor.load_from_checkpoint(tmp_path / "extractor.ckpt", weights_only=True)
    assert loaded.hparams == {**SMALL, "precision": "float32", "keep_frames": False}
    assert loaded.families["vsfacnn"].spec == extractor.families["vsfacnn"].spec
    with pytest.raises(CheckpointError, match="other settings or weights"):
        VSFACNNExtractor.load_from_checkpoint(tmp_path / "extractor.ckpt", weights_only=True, weights="random:1")


def test_wrong_values_are_one_line():
    with pytest.raises(ConfigError, match="backbone nonsense"):
        CNNExtractor("nonsense")
    with pytest.raises(ConfigError, match="version '2' of UVQ"):
        UVQExtractor("2")
