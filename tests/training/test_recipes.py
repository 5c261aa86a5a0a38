"""The recipes of CONTRIBUTING: what a new feature extractor and a new head take to work everywhere."""

import json
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest

from tests.support.fitting import predictions
from ugcvqa import fit
from ugcvqa.errors import CheckpointError
from ugcvqa.evaluation.metrics import Logistic, fit_logistic
from ugcvqa.features import light_families, rows
from ugcvqa.features.family import Family
from ugcvqa.features.store import FeatureSpec
from ugcvqa.heads import kinds
from ugcvqa.heads.estimators import Head
from ugcvqa.heads.fitted import FittedHead
from ugcvqa.media.sampling import centre_pieces
from ugcvqa.scoring.model import QualityModel
from ugcvqa.scoring.model_file import load
from ugcvqa.settings.features import FamilySettings


def every_second(info):
    return centre_pieces(info.n_frames, info.rate, info.seconds)


class RoughnessFamily(Family):
    """Mean step between neighbouring rows, and between columns, of each second's centre frame."""

    version = 3
    is_light = True

    def __init__(self):
        super().__init__(FeatureSpec("roughness", self.version), every_second)

    def __call__(self, frames):
        rgb = np.asarray(frames["rgb"], np.float64)
        return np.array([np.abs(np.diff(rgb, axis=axis)).mean() for axis in (2, 3)])

    def pool(self):
        return Mean()


class Mean:
    def __init__(self):
        self.rows = []

    def add(self, features):
        self.rows.append(features)

    def result(self):
        return {"video": np.mean(self.rows, axis=0)}


def test_a_new_extractor_is_its_class_and_its_lines_in_rows(here, videos, monkeypatch):
    monkeypatch.setitem(light_families.BUILDERS, "roughness", lambda _: RoughnessFamily())
    monkeypatch.setitem(rows.DIMENSIONS, "roughness", 2)
    monkeypatch.setitem(rows.ROWS, "ROUGHNESS", (rows.Part("roughness"),))
    quick = ["--svr.c_exponents", "[5]", "--svr.gamma_exponents", "[-1]", "--trainer.accelerator", "cpu"]
    assert fit.main([*videos, "--row", "ROUGHNESS", *quick]) == 0
    folder = here / "runs" / "own_roughness_svr"
    assert json.loads((folder / "metrics.json").read_text())["made_by"] == {"roughness": "ugcvqa"}
    assert [path.name[:9] for path in (here / "store").glob("roughness-*")] == ["roughness"]
    expected = {row["video_id"].split("/")[1]: float(row["pred"]) for row in predictions(folder)}
    path = f"{videos[3]}/clip05.mp4"
    model = load(folder)
    assert model.score(path).pred == pytest.approx(expected["clip05"], abs=1e-9)


@dataclass(frozen=True, eq=False)
class FittedLine(FittedHead):
    """A straight line through the first column."""

    kind: ClassVar[str] = "line"
    title: ClassVar[str] = "line"

    slope: float
    offset: float
    logistic: Logistic

    def predict(self, features):
        return self.offset + self.slope * features[:, 0]

    def _parts(self):
        return {"line": np.array([self.slope, self.offset])}, {}

    @classmethod
    def _from_parts(cls, arrays, values, logistic):
        return cls(*map(float, arrays["line"]), logistic)


class LineHead(Head):
    kind = "line"

    def _fit(self, features, mos):
        slope, offset = np.polyfit(features[:, 0], mos, 1)
        return FittedLine(slope, offset, fit_logistic(offset + slope * features[:, 0], mos))


def test_a_new_head_is_its_class_its_line_in_kinds_and_its_estimator(tmp_path, monkeypatch):
    module = ModuleType("ugcvqa.heads.line")
    module.FittedLine = FittedLine
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(kinds.CLASSES, "line", "line.FittedLine")
    x = np.random.default_rng(0).uniform(size=(40, 3))
    head = LineHead().fit(x, 1 + 4 * x[:, 0])
    np.testing.assert_allclose(head.predict(x[:2]), 1 + 4 * x[:2, 0])
    assert np.isnan(head.uncertainty(x)).all()
    assert head.contributions(x) == {}
    head.save(tmp_path / "head.safetensors")
    np.testing.assert_array_equal(LineHead.load(tmp_path / "head.safetensors").predict(x), head.predict(x))
    QualityModel(head.fitted, "MINE", FamilySettings(), "MOS", (1.0, 5.0), "own").save(tmp_path / "model.safetensors")
    scored = load(tmp_path / "model.safetensors").score_features("clip", x[0])
    assert scored.pred == pytest.approx(1 + 4 * x[0, 0])
    monkeypatch.delitem(kinds.CLASSES, "line")
    with pytest.raises(CheckpointError, match="head 'line' is unknown here"):
        load(tmp_path / "model.safetensors")
