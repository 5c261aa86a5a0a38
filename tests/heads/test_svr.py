import csv
import json
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
from scipy import optimize
from sklearn.impute import SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVR

from tests.support.golden import golden_arrays
from ugcvqa.errors import CheckpointError, ConfigError, LabelError
from ugcvqa.evaluation.metrics import IDENTITY, evaluate, fit_logistic, rmse
from ugcvqa.evaluation.splits import protocol_split
from ugcvqa.heads.solver import KernelSolver
from ugcvqa.heads.svr import FittedSVR, SVRSettings, fit_rows, fit_svr
from ugcvqa.heads.svr_grid import monotone_rmse

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


def test_predictions_equal_scikit_learn_on_the_same_scaled_features():
    features, mos = made_up()
    head, _ = fit(features, mos)
    scaled = (features - head.minimum) / head.span
    model = SVR(C=head.C, gamma=head.gamma).fit(scaled, mos)
    new, _ = made_up(seed=1)
    assert head.predict(new) == pytest.approx(model.predict((new - head.minimum) / head.span), abs=1e-9)
    assert head.logistic == fit_logistic(head.predict(features), mos)


def test_ties_go_to_the_smallest_c_then_the_smallest_gamma():
    """Labels within the tube are fitted by a constant whatever the candidate."""
    features, mos = made_up()
    mos = 3 + 0.05 * (mos - mos.min()) / np.ptp(mos)
    head, report = fit(features, mos)
    assert np.ptp(report.rmse) == 0
    assert (head.C, head.gamma) == (2.0, 2.0**-6)
    assert head.predict(features) == pytest.approx(np.full(len(mos), head.intercept), abs=0)
    assert head.logistic is IDENTITY
    assert report.n_unmapped == report.rmse.size


def test_candidates_that_cannot_differ_are_not_solved():
    features, mos = made_up()
    settings = SVRSettings(c_exponents=tuple(range(1, 11)), gamma_exponents=(1,))
    _, report = fit(features, mos, settings)
    table, _, _ = straightforward(features, mos, range(12, 60), range(12), settings)
    assert report.n_solved < 10
    assert_report_agrees(report, table)


def plain_path(features, mos, settings):
    """What the search must do, from scikit-learn's solutions of all candidates: (RMSE, monotone RMSE, solved)."""
    train, val = range(len(mos) // 5, len(mos)), range(len(mos) // 5)
    table, _, _ = straightforward(features, mos, train, val, settings)
    scaler = MinMaxScaler().fit(features[train])
    x, x_val, y_val = scaler.transform(features[train]), scaler.transform(features[val]), mos[val]
    monotone, is_solved = np.empty_like(table), np.ones(table.shape, dtype=bool)
    for column, gamma in enumerate(settings.gamma_exponents):
        is_at_bound = True
        for row, c in enumerate(settings.c_exponents):
            model = SVR(C=2.0**c, gamma=2.0**gamma).fit(x, mos[train])
            # Where no coefficient is at its bound, a larger bound changes nothing.
            is_solved[row, column] = is_at_bound
            is_at_bound &= bool(np.any(np.abs(model.dual_coef_) >= 2.0**c * (1 - 1e-12)))
            pred = model.predict(x_val)
            maps = (IsotonicRegression(increasing=rising).fit_transform(pred, y_val) for rising in (True, False))
            monotone[row, column] = min(np.sqrt(np.mean((mapped - y_val) ** 2)) for mapped in maps)
    return table, monotone, is_solved


@pytest.mark.parametrize("most_steps", [None, 0], ids=["own solver", "libsvm alone"])
@pytest.mark.parametrize("seed", [2, 4, 6])
def test_search_takes_the_path_that_scikit_learn_shows_to_be_enough(monkeypatch, seed, most_steps):
    if most_steps is not None:
        monkeypatch.setattr("ugcvqa.heads.solver.MAX_STEPS", most_steps)
    features, mos = made_up(seed=seed)
    settings = SVRSettings(c_exponents=tuple(range(-2, 9)), gamma_exponents=tuple(range(-6, 3)))
    _, report = fit(features, mos, settings)
    table, monotone, is_solved = plain_path(features, mos, settings)
    assert report.n_solved == is_solved.sum() < is_solved.size
    # Candidates within the solver's tolerance of the best are libsvm's own, not merely near them.
    is_near = table <= table.min() + settings.tolerance / 2
    assert report.rmse[is_near] == pytest.approx(table[is_near], abs=1e-9)
    assert report.n_libsvm >= is_near.sum()
    # In the order of the best monotone map, until that leaves more than the best logistic so far.
    order, limit, is_scored = np.argsort(monotone, axis=None, kind="stable"), math.inf, np.zeros(table.size, dtype=bool)
    for place in order.tolist():
        if monotone.flat[place] > limit:
            break
        is_scored[place] = True
        limit = min(limit, table.flat[place] + settings.tolerance)
    is_plain = np.abs(monotone.ravel() - limit) > 2e-3  # beyond what solvers differ by
    assert is_plain.sum() > 0.8 * table.size
    np.testing.assert_array_equal(np.isfinite(report.rmse).ravel()[is_plain], is_scored[is_plain])


def test_every_candidate_but_the_first_starts_from_a_neighbour(monkeypatch):
    starts, ends = [], []
    solve = KernelSolver.solve

    def spy(self, c, start=None):
        solution = solve(self, c, start)
        starts.append(start)
        ends.append(solution.sides)
        return solution

    monkeypatch.setattr(KernelSolver, "solve", spy)
    _, report = fit(*made_up())
    assert (len(starts), starts[0]) == (report.n_solved, None)
    assert all(any(start is end for end in ends[:place]) for place, start in enumerate(starts) if place)


def test_a_single_candidate_needs_no_decision():
    _, report = fit(*made_up(), SVRSettings(c_exponents=(3,), gamma_exponents=(-2,)))
    assert (report.n_solved, report.n_libsvm) == (1, 0)
    assert np.isfinite(report.rmse).all()


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


def test_candidates_that_the_fast_solver_gives_up_are_solved_by_libsvm(monkeypatch):
    head, report = fit(*made_up())
    monkeypatch.setattr("ugcvqa.heads.solver.MAX_STEPS", 0)
    other, slow = fit(*made_up())
    assert slow.n_libsvm >= slow.n_solved > report.n_libsvm
    assert (other.C, other.gamma) == (head.C, head.gamma)
    assert np.array_equal(other.dual_coef, head.dual_coef)


def test_no_logistic_leaves_less_than_the_best_monotone_map():
    rng = np.random.default_rng(0)
    for sign in (1, -1):
        for noise in (0.1, 1.0, 10.0):
            mos = rng.normal(3, 1, 60)
            pred = sign * mos + rng.normal(0, noise, 60)
            bound = monotone_rmse(pred, mos)
            assert bound <= rmse(mos, fit_logistic(pred, mos)(pred)) + 1e-12
    assert monotone_rmse(np.exp(mos), mos) == pytest.approx(0, abs=1e-12)
    assert monotone_rmse(-(mos**3), mos) == pytest.approx(0, abs=1e-12)
    assert monotone_rmse(np.ones(60), mos) <= mos.std()


def split_of(n=60):
    """Inner training, inner validation, outer training and test rows."""
    order = np.random.default_rng(5).permutation(n)
    return order[12:48], order[:12], np.concatenate([order[:12], order[12:48]]), order[48:]


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


def test_features_of_another_width_are_refused():
    head, _ = fit(*made_up())
    with pytest.raises(LabelError, match=r"\(60, 5\) do not fit a head trained on 8 columns"):
        head.predict(made_up(n_columns=5)[0])


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


def test_importing_svr_is_light():
    code = "import sys, ugcvqa.heads.svr; print([m for m in ('scipy', 'torch', 'sklearn') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
