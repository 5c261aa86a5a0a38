"""The fitted SVR head: predictions, its array form, and what is refused."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from sklearn.svm import SVR

from tests.support.svr import fit, made_up
from ugcvqa.errors import CheckpointError, LabelError
from ugcvqa.evaluation.metrics import fit_logistic
from ugcvqa.heads.svr import FittedSVR


def test_predictions_equal_scikit_learn_on_the_same_scaled_features():
    features, mos = made_up()
    head, _ = fit(features, mos)
    scaled = (features - head.minimum) / head.span
    model = SVR(C=head.C, gamma=head.gamma).fit(scaled, mos)
    new, _ = made_up(seed=1)
    assert head.predict(new) == pytest.approx(model.predict((new - head.minimum) / head.span), abs=1e-9)
    assert head.logistic == fit_logistic(head.predict(features), mos)


def test_values_outside_the_training_range_are_not_clipped():
    features, mos = made_up()
    head, _ = fit(features, mos)
    edge = head.minimum + head.span
    assert head.predict(edge[None])[0] != head.predict((edge + head.span)[None])[0]


def test_prediction_in_blocks_equals_prediction_at_once(monkeypatch):
    features, mos = made_up()
    head, _ = fit(features, mos)
    at_once = head.predict(features)
    monkeypatch.setattr("ugcvqa.heads.svr.BLOCK_VALUES", 7 * 60)
    assert head.predict(features) == pytest.approx(at_once, abs=1e-12)
    assert head.predict(features[:0]).shape == (0,)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_head_survives_its_array_form(dtype):
    features, mos = made_up()
    features = features.astype(dtype)
    head, _ = fit(features, mos)
    arrays, values = head.to_arrays()
    again = FittedSVR.from_arrays(arrays, json.loads(json.dumps(values)))
    assert arrays["support_vectors"].dtype == dtype
    assert all(array.flags.c_contiguous for array in arrays.values())
    assert np.array_equal(again.predict(features), head.predict(features))
    assert again.logistic == head.logistic


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("span", None, "lacks its part 'span'"),
        ("dual_coef", np.ones(3), r"support_vectors has shape \(\d+, 8\) instead of \(3, 8\)"),
        ("minimum", np.full(8, math.nan), "minimum holds something other than finite numbers"),
        ("gamma", None, "lacks its part 'gamma'"),
        ("intercept", math.inf, "not a finite number"),
        ("logistic", [1.0, 2.0], "a logistic has"),
    ],
)
def test_a_damaged_array_form_is_refused(name, value, message):
    arrays, values = fit(*made_up())[0].to_arrays()
    part = arrays if name in arrays else values
    part.pop(name)
    if value is not None:
        part[name] = value
    with pytest.raises(CheckpointError, match=message):
        FittedSVR.from_arrays(arrays, values)


def test_features_of_another_width_are_refused():
    head, _ = fit(*made_up())
    with pytest.raises(LabelError, match=r"\(60, 5\) do not fit a head trained on 8 columns"):
        head.predict(made_up(n_columns=5)[0])


def test_importing_svr_is_light():
    code = "import sys, ugcvqa.heads.svr_rows; print([m for m in ('scipy', 'torch', 'sklearn') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
