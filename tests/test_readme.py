"""The Python examples of the README and the documentation run as they stand, and their commands are valid."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from ugcvqa import __main__
from ugcvqa.evaluation.metrics import IDENTITY
from ugcvqa.heads.svr import FittedSVR
from ugcvqa.media.encode import write_video
from ugcvqa.scoring.model import FILE_NAME, QualityModel
from ugcvqa.settings.features import FamilySettings

REPO = Path(__file__).resolve().parent.parent
PAGES = [REPO / "README.md", REPO / "CONTRIBUTING.md", *sorted((REPO / "docs").glob("*.md"))]
EXAMPLES = [
    pytest.param(example, id=f"{page.stem} {number}")
    for page in PAGES
    for number, example in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE))
]
COMMANDS = sorted(
    {
        re.sub(r"\s+", " ", command).strip()
        for page in PAGES
        for command in re.findall(r"^    (ugcvqa .*)$|`(ugcvqa [a-z]+ [^`]*)`", page.read_text(), re.MULTILINE)
        for command in command
        if command
    }
)
CONFIG = re.findall(r"^```yaml\n(.*?)^```", (REPO / "docs" / "training.md").read_text(), re.DOTALL | re.MULTILINE)[0]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with what the examples name: two clips, and a run with a model."""
    random = np.random.default_rng(0)
    vectors = 100 * np.abs(random.normal(size=(20, 1836)))
    head = FittedSVR(np.zeros(1836), np.full(1836, 100.0), vectors, random.normal(size=20), 3.0, 1e-3, 1.0, IDENTITY)
    model = QualityModel(head, "NSS", FamilySettings(), "MOS", (1.0, 5.0), "noise (20 videos)")
    model.save(tmp_path / "runs" / "mine_nss_svr" / FILE_NAME)
    for name in ("clip.mp4", "other.mkv"):
        write_video(tmp_path / name, random.integers(0, 256, (24, 48, 64, 3), dtype=np.uint8), 12)
    monkeypatch.chdir(tmp_path)
    return tmp_path


OFFLINE = {
    'VSFACNNExtractor(weights="IMAGENET1K_V1")': "VSFACNNExtractor('resnet18', weights='random:0')",
    'EndToEndRegressor(backbone="resnet18")': "EndToEndRegressor(backbone='resnet18', weights='random:0', clip=CLIP)",
}
"""What stands in for real weights and large pictures, so that examples run offline in seconds."""


def run(example, **known):
    for written, offline in OFFLINE.items():
        example = example.replace(written, offline)
    exec(compile(example, "README.md", "exec"), {"__name__": "__main__", **known})


@pytest.mark.parametrize("example", [each for each in EXAMPLES if "Trainer" not in each.values[0]])
def test_example_runs(folder, example, capsys):
    run(example)
    printed = capsys.readouterr().out.split()
    assert printed
    assert 1 <= float(printed[0]) <= 5


@pytest.fixture
def labelled_videos(folder):
    """Sixteen videos in the current folder with MOS 1 to 4.75; noisier ones are better."""
    (folder / "videos").mkdir()
    random = np.random.default_rng(0)
    rows = []
    for number in range(16):
        frames = 128 + (4 + 4 * number) * random.uniform(-1, 1, (12, 48, 64, 3))
        write_video(folder / "videos" / f"clip{number:02d}.mp4", frames.astype(np.uint8), 12)
        rows.append(f"clip{number:02d}.mp4,{1 + number / 4}\n")
    (folder / "labels.csv").write_text("file,mos\n" + "".join(rows))


TRAINERS = {each.id.split()[0]: each.values[0] for each in EXAMPLES if "Trainer" in each.values[0]}
CLIP = {"frames": 2, "short_side": 0, "crop": 40}


def test_lightning_classes_of_the_readme(labelled_videos, capsys):
    run(TRAINERS["README"], CLIP=CLIP)
    printed = capsys.readouterr().out
    pred = [float(number) for number in re.search(r"\[(\d[\d.\s]{40,})\]", printed)[1].split()]
    assert np.corrcoef(pred, 1 + np.arange(16) / 4)[0, 1] > 0.8
    assert "test/srcc" in printed


def test_lightning_classes_of_the_documentation(labelled_videos, capsys):
    run(TRAINERS["library"], CLIP=CLIP)
    printed = capsys.readouterr().out
    assert "own/clip" in printed
    assert "torch.Size([1024]) torch.Size([12, 1024])" in printed
    assert "test/srcc" in printed


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_valid(command, capsys, monkeypatch, tmp_path):
    """Every option, choice and config of a command is known, also where the source is not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(CONFIG)
    verb, *arguments = shlex.split(command, comments=True)[1:]
    with pytest.raises(SystemExit) as end:
        __main__.main([verb, *arguments, "--print_config"])
    assert not end.value.code, capsys.readouterr().err


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_that_a_page_names_exist(page):
    named = re.findall(
        r"`(?:python3? )?((?:tools|configs|tests|docs|checkpoints|ugcvqa)/[\w/.]+\.\w+)", page.read_text()
    )
    links = [link for link in re.findall(r"\]\(([\w/.]+)(?:#[\w-]*)?\)", page.read_text()) if link != "api/modules"]
    missing = [name for name in named if not (re.search("ROOM|NAME", name) or (REPO / name).exists())]
    missing += [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_ci_runs_the_command_that_the_readme_gives():
    command = (REPO / ".ci" / "run").read_text().split("exec ")[1].strip()
    assert f"\n    {command} " in (REPO / "README.md").read_text()
