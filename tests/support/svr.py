"""What tests of the SVR share: a small problem, its splits, and the protocol as one would write it first."""

import warnings

import numpy as np
import pytest
from scipy import optimize
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVR

from ugcvqa.evaluation.splits import protocol_split
from ugcvqa.heads.svr_fit import fit_svr
from ugcvqa.settings.heads import SVRSettings

SMALL = SVRSettings(c_exponents=(1, 4, 7), gamma_exponents=(-6, -3, 0))


def made_up(n=60, n_columns=8, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, n_columns)) * 10.0 ** rng.integers(-3, 4, n_columns)
    mos = 3 + np.tanh((features[:, 0] / np.abs(features[:, 0]).max()) * 2) + rng.normal(0, 0.2, n)
    return features, mos


def fit(features, mos, settings=SMALL, **options):
    n = len(mos)
    return fit_svr(features, mos, range(n // 5, n), range(n // 5), settings, **options)


def straightforward(features, mos, train, val, settings):
    """The protocol as one would write it first: every candidate by scikit-learn and scipy's `curve_fit`."""

    def logistic(x, b1, b2, b3, b4):
        return b2 + (b1 - b2) / (1 + np.exp(-(x - b3) / abs(b4)))

    features = np.where(np.isfinite(features), features, 0).astype(np.float64)
    scaler = MinMaxScaler().fit(features[train])
    x, x_val, y_val = scaler.transform(features[train]), scaler.transform(features[val]), mos[val]
    table = np.empty((len(settings.c_exponents), len(settings.gamma_exponents)))
    for row, c in enumerate(settings.c_exponents):
        for column, gamma in enumerate(settings.gamma_exponents):
            pred = SVR(C=2.0**c, gamma=2.0**gamma).fit(x, mos[train]).predict(x_val)
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                start = [y_val.max(), y_val.min(), pred.mean(), 0.5]
                b, _ = optimize.curve_fit(logistic, pred, y_val, p0=start, maxfev=10**8)
                table[row, column] = np.sqrt(np.mean((logistic(pred, *b) - y_val) ** 2))
    row, column = divmod(int(np.argmin(table)), table.shape[1])
    scaler = MinMaxScaler().fit(features)
    model = SVR(C=2.0 ** settings.c_exponents[row], gamma=2.0 ** settings.gamma_exponents[column])
    return table, scaler, model.fit(scaler.transform(features), mos)


def protocol_rows(ids, split_index):
    """(outer training, test) rows of the table, and (inner training, inner validation) rows of the former."""
    split = protocol_split(ids, split_index)
    row_of = {video: k for k, video in enumerate(ids)}
    outer_row_of = {video: k for k, video in enumerate(split.outer_train)}
    outer, test = ([row_of[video] for video in part] for part in (split.outer_train, split.test))
    return outer, test, *([outer_row_of[video] for video in part] for part in (split.train, split.val))


def assert_report_agrees(report, table):
    """Both solvers stop within 1e-3 of the optimum; candidates without an RMSE cannot have won."""
    known = ~np.isnan(report.rmse)
    assert report.rmse[known] == pytest.approx(table[known], abs=1e-3)
    assert np.nanmin(report.rmse) == pytest.approx(table.min(), abs=1e-8)
    assert (table[~known] > table.min()).all()


def split_of(n=60):
    """Inner training, inner validation, outer training and test rows."""
    order = np.random.default_rng(5).permutation(n)
    return order[12:48], order[:12], np.concatenate([order[:12], order[12:48]]), order[48:]
