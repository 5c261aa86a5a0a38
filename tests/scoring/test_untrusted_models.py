"""Model files that anybody may have written: each is refused in one line, or loads and scores; nothing else happens."""

import copy
import json
import random
import struct
import sys

import numpy as np
import pytest

from tests.scoring.test_model import FRAME, MAKERS, svr, write
from ugcvqa import score, untrusted
from ugcvqa.deep.backbones import backbone_without_weights, load_backbone
from ugcvqa.errors import CheckpointError, ConfigError, WeightsError
from ugcvqa.heads.parts import GPPart
from ugcvqa.heads.sparse_fit import fit_sparse_gp
from ugcvqa.scoring.model_file import load
from ugcvqa.settings.features import FamilySettings
from ugcvqa.settings.heads import SparseGPSettings
from ugcvqa.settings.training import EndToEndSettings

QUICK = 40  # crafted files of each head that are tried by default

VALUES = {
    "null": None,
    "true": True,
    "minus one": -1,
    "zero": 0,
    "half": 0.5,
    "large": 1e300,
    "huge": 10**400,
    "not a number": float("nan"),
    "infinity": float("inf"),
    "empty text": "",
    "text": "root",
    "long text": "x" * 100_000,
    "path": "/etc/passwd",
    "control characters": "\x1b[31m\r\n\0",
    "empty list": [],
    "list": [1, "2", None],
    "long list": [0] * 100_000,
    "mapping": {"a": {"b": [1]}},
}


def sparse_gp():
    random_state = np.random.RandomState(0)
    features = random_state.random_sample((30, 5))
    parts = [GPPart("nss/a", 0, 3, "rank"), GPPart("container/rate", 3, 4, "log"), GPPart("cnn", 4, 5, "root")]
    settings = SparseGPSettings(inducing=6, dimensions=2, quantiles=4, steps=1, max_evaluations=3)
    arrays, values = fit_sparse_gp(features, features[:, 0] + features[:, 4], parts, settings)[0].to_arrays()
    return arrays, {"kind": "sparse_gp", **values}, features[:1], None


HEADS = {**MAKERS, "sparse_gp": sparse_gp}


def metadata_of(head):
    return {**copy.deepcopy(FRAME), "specs": {"nss": '{"family": "nss"}'}, "made_by": {"MINE": "me"}, "head": head}


def places(tree, above=()):
    """Every place of a tree of JSON values."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inner:
        yield (*above, key)
        yield from places(value, (*above, key))


def crafted_metadata(metadata):
    """Yields a name and a way to spoil the metadata, for every place and value."""
    for place in places(metadata):
        for name, value in VALUES.items():
            yield f"{place} is {name}", (place, value)
        yield f"{place} is missing", (place, KeyError)


def spoiled(metadata, place, value):
    changed = copy.deepcopy(metadata)
    tree = changed
    for key in place[:-1]:
        tree = tree[key]
    if value is KeyError:
        del tree[place[-1]]
    else:
        tree[place[-1]] = value
    return changed


def crafted_arrays(arrays):
    """Yields a name and spoiled arrays."""
    for name, array in arrays.items():
        others = {key: one for key, one in arrays.items() if key != name}
        yield f"no {name}", others
        is_float = array.dtype.kind == "f"
        largest = np.finfo(array.dtype).max if is_float else 1
        changes = {
            "empty": array[:0],
            "one more": np.concatenate([array, array[:1]]),
            "one axis more": array[None],
            "flat": array.ravel(),
            "of numbers without a point": np.ones(array.shape, np.int64),
            "of truth values": np.ones(array.shape, bool),
            "of doubles": array.astype(np.float64),
            "of halves": array.astype(np.float16),
            "of NaN": np.full_like(array, np.nan if is_float else 0),
            "infinite": np.full_like(array, np.inf if is_float else 0),
            "of the largest numbers": np.full_like(array, largest),
            "of zeros": np.zeros_like(array),
            "negative": -np.abs(array) - 1,
        }
        for change, one in changes.items():
            yield f"{name} {change}", {**others, name: one}
    yield "one array more", {**arrays, "more": np.ones(3)}
    yield "no array", {}


def crafted(kind, tmp_path):
    """Yields a name, a file, and features to predict from."""
    arrays, head, features, _ = HEADS[kind]()
    metadata = metadata_of(head)
    for name, change in crafted_metadata(metadata):
        yield (
            name,
            lambda change=change: write(tmp_path / "model.safetensors", arrays, spoiled(metadata, *change)),
            features,
        )
    for name, changed in crafted_arrays(arrays):
        yield name, lambda changed=changed: write(tmp_path / "model.safetensors", changed, metadata), features


def check(path, features):
    """Loads a crafted file and predicts from it; True if it was refused."""
    try:
        model = load(path)
        scored = model.score_features("clip", features[0])
    except CheckpointError as error:
        text = str(error)
        assert text.isprintable(), repr(text[:200])
        assert len(text) < 1000
        return True
    assert scored.reason or np.isfinite([scored.mos, scored.pred]).all()
    assert scored.reason.isprintable()
    return False


def check_all(kind, tmp_path, most):
    cases = list(crafted(kind, tmp_path))
    chosen = cases if most is None else random.Random(kind).sample(cases, min(most, len(cases)))
    refused, wrong = 0, []
    for name, make, features in chosen:
        path = make()
        try:
            refused += check(path, features)
        except Exception as error:  # whatever is no plain refusal is a fault
            wrong.append(f"{name}: {error!r:.200}")
    assert not wrong
    assert refused > len(chosen) // 2


@pytest.mark.parametrize("kind", HEADS)
def test_crafted_files_are_refused_in_one_line_or_score(tmp_path, kind):
    check_all(kind, tmp_path, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("kind", HEADS)
def test_every_crafted_file_is_refused_in_one_line_or_scores(tmp_path, kind):
    check_all(kind, tmp_path, None)


@pytest.mark.parametrize("kind", HEADS)
def test_an_honest_file_of_each_kind_scores(tmp_path, kind):
    arrays, head, features, _ = HEADS[kind]()
    assert not check(write(tmp_path / "model.safetensors", arrays, metadata_of(head)), features)


def raw(path, header, body=b"", length=None):
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(data) if length is None else length) + data + body)
    return path


def nested(depth):
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    "make",
    {
        "no byte": lambda path: path.write_bytes(b""),
        "cut": lambda path: path.write_bytes(b"\x10\0\0\0"),
        "a header larger than any": lambda path: raw(path, b"{}", length=2**63),
        "a header larger than the file": lambda path: raw(path, b"{}", length=10**6),
        "a header that is no JSON": lambda path: raw(path, b"\xff\xfe" * 50),
        "no metadata": lambda path: raw(path, {}),
        "metadata of another program": lambda path: raw(path, {"__metadata__": {"other": "1"}}),
        "deep metadata": lambda path: raw(path, {"__metadata__": {"ugcvqa": nested(100_000)}}),
        "metadata that is a list": lambda path: raw(path, {"__metadata__": {"ugcvqa": "[1]"}}),
        "metadata that is a number": lambda path: raw(path, {"__metadata__": {"ugcvqa": "1"}}),
        "a large number": lambda path: raw(path, {"__metadata__": {"ugcvqa": "9" * 10_000}}),
        "an array beyond the end": lambda path: raw(
            path,
            {
                "__metadata__": {"ugcvqa": json.dumps(FRAME)},
                "a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]},
            },
        ),
        "an array of a type that NumPy has not": lambda path: raw(
            path,
            {
                "__metadata__": {"ugcvqa": json.dumps(FRAME)},
                "a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]},
            },
            b"\0\0",
        ),
        "a folder": lambda path: path.mkdir(),
        "text": lambda path: path.write_text("model"),
    }.values(),
)
def test_files_that_are_no_model_are_refused_in_one_line(tmp_path, capsys, make):
    path = tmp_path / "model.safetensors"
    make(path)
    assert score.main(["clip.mp4", "--checkpoint", str(path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("ugcvqa score: error: ")
    assert err.count("\n") == 1


def test_a_deep_tree_in_any_place_is_refused(tmp_path):
    arrays, head, _, _ = svr()
    text = json.dumps(metadata_of(head)).replace('"rapique"', nested(20_000))
    path = tmp_path / "model.safetensors"
    path.write_bytes(write(tmp_path / "other", arrays, metadata_of(head)).read_bytes())
    raw(path, {"__metadata__": {"ugcvqa": text}})
    with pytest.raises(CheckpointError, match="cannot be read as a file of ours"):
        load(path)


OPENED = []


@pytest.fixture(scope="module")
def audited():
    """Names of all files that are opened from now on."""
    sys.addaudithook(lambda event, arguments: OPENED.append(str(arguments[0])) if event == "open" else None)
    return OPENED


@pytest.mark.parametrize("family", ["deep", "saliency", "uvq"])
@pytest.mark.parametrize("name", ["secret.pth", "secret", "IMAGENET1K", "folder"])
def test_a_model_opens_no_file_of_its_choice(tmp_path, audited, monkeypatch, capsys, family, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UGCVQA_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.delenv("UGCVQA_UVQ_WEIGHTS", raising=False)
    (tmp_path / name).mkdir() if name == "folder" else (tmp_path / name).write_text("secret")
    row = {"deep": "CNN", "saliency": "SALIENCY", "uvq": "UVQ_FEATURES"}[family]
    for weights in (name, f"./{name}", str(tmp_path / name), f"installed:../{name}", f"installed:{tmp_path / name}"):
        arrays, head, _, _ = svr()
        metadata = {
            **metadata_of(head),
            "row": row,
            "made_by": {"cnn": "ugcvqa", "saliency": "ugcvqa", "uvq": "ugcvqa"},
        }
        metadata["settings"][family]["weights"] = weights
        metadata["specs"] = {}
        write(tmp_path / "model.safetensors", arrays, metadata)
        audited.clear()
        assert score.main(["clip.mp4", "--checkpoint", str(tmp_path / "model.safetensors")]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1, err
        assert not [path for path in audited if path.startswith((str(tmp_path / name), name, f"./{name}"))]


def test_a_file_beside_released_weights_is_opened_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("UGCVQA_WEIGHTS", str(tmp_path))
    (tmp_path / "mine.pth").write_text("no weights")
    with pytest.raises(WeightsError, match=r"mine\.pth: cannot be read as weights"):
        load_backbone("resnet18", untrusted.weights("/elsewhere/mine.pth"))
    with pytest.raises(WeightsError, match="a model file opens weights from there only"):
        load_backbone("resnet18", untrusted.weights("/elsewhere/other.pth"))


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("IMAGENET1K_V1", "IMAGENET1K_V1"),
        ("random:7", "random:7"),
        ("random:" + "9" * 30, "installed:random:" + "9" * 30),
        ("/etc/passwd", "installed:passwd"),
        ("../x.pth", "installed:x.pth"),
        ("installed:../x.pth", "installed:x.pth"),
        ("IMAGENET1K_V1/../x", "installed:x"),
    ],
)
def test_what_weights_of_a_model_mean(weights, expected):
    assert untrusted.weights(weights) == expected


@pytest.mark.parametrize("name", ["vit_h_14", "regnet_y_128gf", "fasterrcnn_resnet50_fpn", "/etc/passwd", "", "os"])
def test_other_backbones_are_refused_before_they_are_built(tmp_path, name):
    arrays, head, _, _ = MAKERS["end_to_end"]()
    head["settings"]["backbone"] = name
    with pytest.raises(CheckpointError, match="the end-to-end head cannot be read"):
        load(write(tmp_path / "model.safetensors", arrays, metadata_of(head)))


def test_the_largest_networks_get_no_random_weights():
    with pytest.raises(ConfigError, match="too large for random weights"):
        load_backbone("vit_h_14", "random:0")


def test_layers_without_weights_are_those_of_the_network():
    from torchvision import models

    for name in ("squeezenet1_1", "regnet_y_400mf"):
        network = backbone_without_weights(name)
        shapes = {key: value.shape for key, value in network.state_dict().items()}
        assert shapes == {key: value.shape for key, value in getattr(models, name)().state_dict().items()}
        assert all(parameter.is_meta for parameter in network.parameters())


@pytest.mark.parametrize(
    ("cls", "values", "message"),
    [
        (FamilySettings, {"nss": {"min_side": True}}, r"settings\.nss\.min_side is True, not a whole number"),
        (FamilySettings, {"nss": {"colour": "red"}}, r"settings\.nss\.colour is 'red', not one of bt601, rapique"),
        (FamilySettings, {"nss": {"new": 1}}, "settings.nss has a setting 'new'"),
        (FamilySettings, {"deep": None}, "settings.deep is None, not a mapping"),
        (FamilySettings, {"deep": {"keep_frames": 1}}, "keep_frames is 1, not true or false"),
        (FamilySettings, {"saliency": {"memory_mib": "1"}}, "memory_mib is '1', not a whole number"),
        (FamilySettings, {"saliency": {"layer": 3}}, "layer is 3, not up to 500 printable characters"),
        (EndToEndSettings, {"beta": float("nan")}, "beta is nan, not a finite number"),
        (EndToEndSettings, {"thaw_epochs": [1, "2"]}, "thaw_epochs is '2', not a whole number"),
    ],
)
def test_settings_are_of_their_types(cls, values, message):
    with pytest.raises(untrusted.Unfit, match=message):
        untrusted.settings(cls, values, "settings")


def test_settings_that_are_right_are_built():
    found = untrusted.settings(FamilySettings, {"saliency": {"memory_mib": None, "layer": "a"}}, "settings")
    assert (found.saliency.memory_mib, found.saliency.layer) == (None, "a")
    assert untrusted.settings(EndToEndSettings, {"thaw_epochs": [1, 2], "beta": 1}, "s").thaw_epochs == (1, 2)
