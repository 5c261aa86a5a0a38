"""The SVR protocol for several rows that share blocks of columns."""

import math

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVR

from tests.support.svr import SMALL, made_up, split_of
from ugcvqa.errors import LabelError
from ugcvqa.evaluation.metrics import fit_logistic, rmse
from ugcvqa.heads.svr_fit import fit_svr
from ugcvqa.heads.svr_rows import fit_rows
from ugcvqa.settings.heads import SVRSettings


def test_rows_equal_the_head_of_their_columns():
    features, mos = made_up()
    blocks = {"a": features[:, :3], "b": features[:, 3:5], "c": features[:, 5:]}
    rows = {"A": ("a",), "CB": ("c", "b"), "ALL": ("a", "b", "c")}
    columns = {"A": [0, 1, 2], "CB": [5, 6, 7, 3, 4], "ALL": list(range(8))}
    train, val, outer, test = split_of()
    position = {row: k for k, row in enumerate(outer)}
    found = dict(fit_rows(blocks, rows, mos, train, val, outer, test, SMALL))
    assert list(found) == list(rows)
    for row, fit_of_row in found.items():
        table = features[:, columns[row]]
        inner = ([position[k] for k in part] for part in (train, val))
        head, report = fit_svr(table[outer], mos[outer], *inner, SMALL)
        assert (2.0**fit_of_row.c_exponent, 2.0**fit_of_row.gamma_exponent) == (head.C, head.gamma)
        assert fit_of_row.pred_train == pytest.approx(head.predict(table[outer]), abs=1e-9)
        assert fit_of_row.pred_test == pytest.approx(head.predict(table[test]), abs=1e-9)
        assert np.nanmin(fit_of_row.grid.rmse) == pytest.approx(np.nanmin(report.rmse), abs=1e-8)


def test_rows_replace_non_finite_values_by_zero():
    features, mos = made_up()
    spoiled, zeroed = features.copy(), features.copy()
    spoiled[[3, 20, 41], [0, 1, 2]] = [math.nan, math.inf, -math.inf]
    zeroed[[3, 20, 41], [0, 1, 2]] = 0
    ((_, found),) = fit_rows({"f": spoiled}, {"F": ["f"]}, mos, *split_of(), SMALL)
    ((_, expected),) = fit_rows({"f": zeroed}, {"F": ["f"]}, mos, *split_of(), SMALL)
    assert found.grid.n_nonfinite == 3
    assert np.array_equal(found.pred_test, expected.pred_test)


def test_rows_can_replace_non_finite_values_by_the_means_of_each_part():
    """As scikit-learn's imputer, fitted to inner training, inner validation, outer training and test part each."""
    features, mos = made_up()
    features[::5, 0], features[1::7, 1], features[2::9, 4] = math.nan, math.inf, -math.inf
    train, val, outer, test = split_of()
    chosen = SVRSettings(c_exponents=(3,), gamma_exponents=(-2,))
    ((_, found),) = fit_rows({"f": features}, {"F": ["f"]}, mos, train, val, outer, test, chosen, "mean")
    known = np.where(np.isfinite(features), features, math.nan)
    x, x_test, x_train, x_val = (SimpleImputer().fit_transform(known[part]) for part in (outer, test, train, val))
    scaler = MinMaxScaler().fit(x)
    model = SVR(C=8, gamma=0.25).fit(scaler.transform(x), mos[outer])
    assert found.pred_train == pytest.approx(model.predict(scaler.transform(x)), abs=1e-9)
    assert found.pred_test == pytest.approx(model.predict(scaler.transform(x_test)), abs=1e-9)
    scaler = MinMaxScaler().fit(x_train)
    pred = SVR(C=8, gamma=0.25).fit(scaler.transform(x_train), mos[train]).predict(scaler.transform(x_val))
    assert found.grid.rmse[0, 0] == pytest.approx(rmse(mos[val], fit_logistic(pred, mos[val])(pred)), abs=1e-3)


def test_a_column_without_finite_values_does_not_matter():
    features, mos = made_up()
    empty = np.insert(features, 2, math.nan, axis=1)
    for nonfinite in ("zero", "mean"):
        ((_, found),) = fit_rows({"f": empty}, {"F": ["f"]}, mos, *split_of(), SMALL, nonfinite)
        ((_, expected),) = fit_rows({"f": features}, {"F": ["f"]}, mos, *split_of(), SMALL, nonfinite)
        assert found.pred_test == pytest.approx(expected.pred_test, abs=1e-9)


def test_rows_do_not_read_the_scores_of_the_test_part():
    features, mos = made_up()
    hidden = mos.copy()
    hidden[split_of()[3]] = math.nan
    ((_, found),) = fit_rows({"f": features}, {"F": ["f"]}, hidden, *split_of(), SMALL)
    ((_, expected),) = fit_rows({"f": features}, {"F": ["f"]}, mos, *split_of(), SMALL)
    assert np.array_equal(found.pred_test, expected.pred_test)


def test_rows_do_not_depend_on_their_company():
    features, mos = made_up()
    blocks = {"a": features[:, :3], "b": features[:, 3:]}
    ((_, alone),) = fit_rows(blocks, {"B": ["b"]}, mos, *split_of(), SMALL)
    among = dict(fit_rows(blocks, {"AB": ["a", "b"], "A": ["a"], "B": ["b"]}, mos, *split_of(), SMALL))
    assert np.array_equal(alone.pred_test, among["B"].pred_test)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f, mos, parts: (np.full_like(f, math.nan), mos, parts), "row F: the 8 feature columns hold no finite"),
        (lambda f, mos, parts: (np.ones_like(f), mos, parts), "row F: all 8 feature columns are constant"),
        (lambda f, mos, parts: (f[1:], mos, parts), r"\(59, 8\) do not match MOS of shape \(60,\)"),
        (lambda f, mos, parts: (f, np.where(mos > 0, math.nan, 0), parts), "MOS are NaN or infinite"),
        (lambda f, mos, parts: (f, mos, ([], *parts[1:])), "inner training part of the split is empty"),
        (lambda f, mos, parts: (f, mos, (*parts[:2], parts[2][:9], parts[3])), "9 videos are too few"),
        (lambda f, mos, parts: (f, np.full_like(mos, 3), parts), "all 48 MOS equal 3"),
    ],
)
def test_rows_that_cannot_be_fitted_are_refused(spoil, message):
    features, mos, parts = spoil(*made_up(), split_of())
    with pytest.raises(LabelError, match=message):
        list(fit_rows({"f": features}, {"F": ["f"]}, mos, *parts, SMALL))
