"""The SVR protocol on one table: against scikit-learn, published figures, and what cannot be fitted."""

import csv
import math
import warnings

import numpy as np
import pytest

from tests.support.golden import golden_arrays
from tests.support.svr import SMALL, assert_report_agrees, fit, made_up, protocol_rows, straightforward
from ugcvqa.errors import ConfigError, LabelError
from ugcvqa.evaluation.metrics import evaluate
from ugcvqa.heads.svr_fit import fit_svr
from ugcvqa.settings.heads import SVRSettings


@pytest.fixture(scope="module")
def nss(shared):
    """(ids, mos, features) of YouTube-UGC's NSS features, in the order of the published matrices."""
    with (shared / "data" / "labels" / "youtube_ugc.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["in_paper"] == "1"]
    rows.sort(key=lambda row: int(row["paper_index"]))
    with np.load(shared / "data" / "features" / "youtube_ugc_nss.npz") as table:
        row_of = {video: k for k, video in enumerate(table["videos"])}
        features = table["feats"][[row_of[row["video"]] for row in rows]]
    return [row["video"] for row in rows], np.array([float(row["mos"]) for row in rows]), features


def assert_equals_straightforward(features, mos, test, test_mos, train, val, settings):
    head, report = fit_svr(features, mos, train, val, settings)
    table, scaler, model = straightforward(features, mos, train, val, settings)
    assert (head.C, head.gamma) == (model.C, model.gamma)
    assert_report_agrees(report, table)
    scaled = scaler.transform(np.where(np.isfinite(test), test, 0).astype(np.float64))
    expected, own = evaluate(test_mos, model.predict(scaled)), evaluate(test_mos, head.predict(test))
    for name in ("srcc", "krcc", "plcc", "rmse"):
        assert getattr(own, name) == pytest.approx(getattr(expected, name), abs=1e-6)


@pytest.mark.parametrize("split_index", [1, 2, 3])
def test_small_grid_on_published_features_equals_scikit_learn(nss, split_index):
    ids, mos, features = (values[::4] for values in nss)
    settings = SVRSettings(c_exponents=(2, 5, 8), gamma_exponents=(-8, -5, -2))
    outer, test, train, val = protocol_rows(ids, split_index)
    assert_equals_straightforward(features[outer], mos[outer], features[test], mos[test], train, val, settings)


@pytest.mark.slow
@pytest.mark.parametrize("split_index", [1, 2, 3])
def test_full_grid_on_published_features_equals_scikit_learn(nss, split_index):
    ids, mos, features = nss
    outer, test, train, val = protocol_rows(ids, split_index)
    assert_equals_straightforward(features[outer], mos[outer], features[test], mos[test], train, val, SVRSettings())


@pytest.mark.slow
def test_protocol_on_published_nss_features_gives_the_published_medians(nss):
    ids, mos, features = nss
    results = []
    for split_index in range(1, 101):
        outer, test, train, val = protocol_rows(ids, split_index)
        head, _ = fit_svr(features[outer], mos[outer], train, val)
        result = evaluate(mos[test], head.predict(features[test]))
        results.append((result.srcc, result.krcc, result.plcc, result.rmse))
    assert np.median(results, axis=0) == pytest.approx([0.7103, 0.5249, 0.7042, 0.4526], abs=2e-3)
    assert np.std(results, axis=0) == pytest.approx([0.0361, 0.0305, 0.0378, 0.0267], abs=2e-3)


def test_protocol_on_published_saliency_features_gives_the_published_scores():
    """Row SALIENCY of YouTube-UGC at 720P, whose predictions and scores the authors stored for split 32."""
    golden, stored, key = golden_arrays("saliency_720p"), golden_arrays("published_scores"), "720P|SALIENCY|32"
    features, mos = golden["features"], golden["mos"]
    outer, test, train, val = protocol_rows([f"{row:03d}" for row in range(len(mos))], 32)
    assert test == stored[f"{key}|test_rows"].tolist()
    head, _ = fit_svr(features[outer], mos[outer], train, val)
    pred = head.predict(features[test])
    assert pred == pytest.approx(stored[f"{key}|y_pred"], abs=1e-3)
    assert head.logistic(pred) == pytest.approx(stored[f"{key}|score"], abs=1e-3)


def test_non_finite_features_count_as_zero():
    features, mos = made_up()
    spoiled, zeroed = features.copy(), features.copy()
    spoiled[[3, 20, 41], [0, 1, 2]] = [math.nan, math.inf, -math.inf]
    zeroed[[3, 20, 41], [0, 1, 2]] = 0
    head, report = fit(spoiled, mos)
    reference, _ = fit(zeroed, mos)
    assert report.n_nonfinite == 3
    assert np.array_equal(head.predict(spoiled), reference.predict(zeroed))


def test_huge_values_are_scaled_in_double_precision():
    features, mos = made_up()
    features[:, 3] *= 1e24
    head, _ = fit(features.astype(np.float32), mos)
    assert np.corrcoef(head.predict(features), mos)[0, 1] > 0.5
    assert np.isfinite(head.predict(features * 1e200)).all()


def test_constant_columns_do_not_matter():
    features, mos = made_up()
    constant = np.insert(features, 2, 7.5, axis=1)
    head, _ = fit(constant, mos)
    reference, _ = fit(features, mos)
    constant[:, 2] = 123.0
    assert head.predict(constant) == pytest.approx(reference.predict(features), abs=1e-12)


def test_progress_counts_all_candidates():
    seen = []
    fit(*made_up(), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(k, 9) for k in range(1, 10)]


def test_fits_that_do_not_converge_are_counted(monkeypatch):
    monkeypatch.setattr("ugcvqa.heads.svr_grid.MAX_ITERATIONS", 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        head, report = fit(*made_up())
    assert report.n_unconverged == report.n_libsvm + 1
    assert report.n_libsvm > 0
    assert np.isfinite(head.predict(made_up()[0])).all()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda features, mos: (features[:9], mos[:9]), "9 videos are too few"),
        (lambda features, mos: (features, np.full(60, 3.0)), "all 60 MOS equal 3"),
        (lambda features, mos: (np.full_like(features, math.nan), mos), "hold no finite value"),
        (lambda features, mos: (np.ones_like(features), mos), "all 8 feature columns are constant"),
        (lambda features, mos: (features[:, :0], mos), "hold no finite value"),
        (lambda features, mos: (features[:-1], mos), r"\(59, 8\) do not match MOS of shape \(60,\)"),
        (lambda features, mos: (features[:, 0], mos), r"\(60,\) do not match"),
        (lambda features, mos: (features, np.where(mos > mos[5], math.nan, mos)), "MOS are NaN or infinite"),
        (lambda features, mos: (np.sign(features) * 1e308, mos), "spans more than float64"),
    ],
)
def test_tables_that_cannot_be_fitted_are_refused(spoil, message):
    features, mos = spoil(*made_up())
    with pytest.raises(LabelError, match=message):
        fit_svr(features, mos, range(12, 60), range(12), SMALL)


def test_an_empty_inner_part_is_refused():
    with pytest.raises(LabelError, match="60 training and 0 validation videos"):
        fit_svr(*made_up(), range(60), [], SMALL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"c_exponents": ()}, "c_exponents"),
        ({"gamma_exponents": (1, 0)}, "gamma_exponents"),
        ({"epsilon": -0.1}, "epsilon"),
        ({"tolerance": 0}, "tolerance"),
    ],
)
def test_unusable_settings_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        SVRSettings(**options)
