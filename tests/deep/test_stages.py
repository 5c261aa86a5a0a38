"""Row STAGES: statistics of a network's stages against its own layers, and from the command line to a scored video."""

import json

import numpy as np
import pytest
import torch

from ugcvqa import fit, score
from ugcvqa.deep.backbones import load_backbone
from ugcvqa.deep.imagenet import normalise
from ugcvqa.deep.stages import StageStatistics
from ugcvqa.deep.taps import tap
from ugcvqa.errors import ConfigError, VideoError
from ugcvqa.features.extraction import ClipStream, Task, extract_features
from ugcvqa.features.families import build_families
from ugcvqa.features.rows import dimension
from ugcvqa.heads.parts import gp_parts
from ugcvqa.media.encode import write_video
from ugcvqa.media.video import read_frames
from ugcvqa.settings.features import DeepSettings, FamilySettings

LITE = ("efficientnet_lite0", "IMAGENET1K_V1")


def noise(height=75, width=102, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(
    ("network", "layers", "stages"),
    [
        (LITE, ["features.0", "features.3", "features.5"], (0, 3, 5)),
        (("resnet18", "random:0"), ["maxpool", "layer1", "layer2", "layer3", "layer4"], ()),
        (("vgg11", "random:0"), ["features.0", "features.1"], (0, 1)),
    ],
)
def test_statistics_are_those_of_the_maps_of_the_stages(engine, network, layers, stages):
    plain, rgb = load_backbone(*network), noise()
    maps = []
    for layer in layers:
        with torch.no_grad(), tap(plain, layer) as found:
            plain(normalise(rgb))
            maps.append(found.value.double().flatten(2).clone())
        if "vgg" in network[0]:  # whose ReLU changes the maps before it in place
            chain = plain.features[: stages[len(maps) - 1] + 1]
            maps[-1] = chain(normalise(rgb)).double().flatten(2)
    expected = torch.cat([*(one.mean(2) for one in maps), *(one.std(2) for one in maps)], 1).float()
    statistics = StageStatistics(*network, stages=stages, engine=engine)
    assert statistics.dim == expected.shape[1]
    torch.testing.assert_close(statistics(rgb), expected, rtol=1e-4, atol=1e-4)


def test_width_of_the_row_is_that_of_all_stages_of_resnet50():
    assert StageStatistics("resnet50", "random:0").dim == dimension("STAGES")


def test_stages_that_do_not_exist_are_one_line():
    with pytest.raises(ConfigError, match="efficientnet_lite0 has stages 0 to 8, not 9"):
        StageStatistics(*LITE, stages=(0, 9))
    for stages in ((2, 1), (1, 1), (-1, 0)):
        with pytest.raises(ConfigError, match="rising order"):
            DeepSettings(stages=stages)
    with pytest.raises(ConfigError, match="is not a chain of stages"):
        StageStatistics("googlenet", "random:0")


def test_small_frames_are_told_where_a_network_needs_larger_ones():
    assert StageStatistics(*LITE)(noise(2, 3)).isfinite().all()
    with pytest.raises(VideoError, match="too small for squeezenet1_1"):
        StageStatistics("squeezenet1_1", "random:0")(noise(16, 16))


def test_parts_of_the_gaussian_process_are_means_and_deviations():
    parts = {part.name: (part.start, part.stop, part.scaling) for part in gp_parts("NSS_STAGES", 1836 + 608)}
    assert parts["stages/mean"] == (1836, 1836 + 304, "rank")
    assert parts["stages/deviation"] == (1836 + 304, 1836 + 608, "rank")


def test_choice_of_stages_names_these_features_and_no_others():
    one, other = (
        build_families(("stages", "cnn"), FamilySettings(deep=DeepSettings(*LITE, stages=stages)))
        for stages in ((0, 1), (0, 2))
    )
    assert one["stages"].spec.key != other["stages"].spec.key
    assert one["cnn"].spec.key == other["cnn"].spec.key
    assert "stages" not in one["cnn"].spec.settings


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Fifteen videos of ever more noise, which is their label, and one of three frames."""
    folder = tmp_path_factory.mktemp("videos")
    random = np.random.default_rng(0)
    rows = []
    for number in range(15):
        smooth = np.kron(random.integers(60, 190, (6, 8, 3)), np.ones((12, 12, 1)))
        frames = [smooth + random.normal(0, 1 + 4 * number, smooth.shape) for _ in range(8)]
        write_video(folder / f"v{number:02d}.mp4", (f.clip(0, 255).astype(np.uint8) for f in frames), 4)
        rows.append(f"v{number:02d}.mp4,{5 - number / 4}\n")
    write_video(folder / "v15.mp4", (smooth.astype(np.uint8) for _ in range(3)), 30)
    (folder / "labels.csv").write_text("file,mos\n" + "".join(rows) + "v15.mp4,5\n")
    return folder


def test_centres_of_seconds_are_seen_and_the_middle_of_a_short_video(videos):
    families = build_families(("stages",), FamilySettings(deep=DeepSettings(*LITE, stages=(0, 2))))
    for name, indices in (("v03", (2, 6)), ("v15", (1,))):
        path = videos / f"{name}.mp4"
        (result,) = extract_features(ClipStream([Task(str(path), str(path))], families), families)
        frames = torch.from_numpy(np.stack([image for _, _, image in read_frames(path, indices)]))
        expected = families["stages"].network(frames).double().mean(0)
        np.testing.assert_allclose(result.features["stages"]["video"], expected, rtol=1e-6)


@pytest.mark.parametrize("head", ["svr", "gp"])
def test_own_videos_train_a_model_that_scores(videos, tmp_path, monkeypatch, capsys, head):
    monkeypatch.chdir(tmp_path)
    config = [*["--data.name", "own", "--data.root"], str(videos), "--data.labels", str(videos / "labels.csv")]
    chosen = ["--row", "STAGES", "--backbone", LITE[0], "--families.deep.stages", "[0,1,2]", "--head", head]
    grid = ["--svr.c_exponents", "[1,3]", "--svr.gamma_exponents", "[-8,-4]", "--trainer.devices", "1"]
    assert fit.main([*config, *chosen, *grid]) == 0
    capsys.readouterr()
    run = f"runs/own_stages_{head}"
    files = [str(videos / f"v{number:02d}.mp4") for number in (0, 7, 14)]
    assert score.main([*files, "--checkpoint", run, "--json", "--explain", "--workers", "0"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    best, middle, worst = (row["mos"] for row in rows)
    assert best > middle > worst
    assert {name.split("/")[0] for name in rows[0]["explanation"]["contributions"]} == {"stages"}
