"""One split of the benchmark against a straightforward form of the protocol with scikit-learn."""

import math

import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.stats import kendalltau, pearsonr, spearmanr
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVR

from ugcvqa.benchmarks import dependencies as in_full
from ugcvqa.benchmarks.dependencies import code_sha256, dependencies
from ugcvqa.benchmarks.problem import Entry, Problem, Rules
from ugcvqa.benchmarks.protocol import run_split, run_unit
from ugcvqa.errors import ConfigError, LabelError
from ugcvqa.evaluation.splits import protocol_split
from ugcvqa.features.rows import Part
from ugcvqa.settings.heads import GPSettings, SVRSettings

SMALL = SVRSettings(c_exponents=(1, 3), gamma_exponents=(-4, -2, 0))


def made_up(n_videos=60, seed=0):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n_videos, 6)), rng.normal(size=(n_videos, 4)) * 30
    mos = np.clip(3 + a[:, 0] + 0.03 * b[:, 1] * a[:, 1] + 0.2 * rng.normal(size=n_videos), 1, 5)
    a[1::7, 2], a[2::9, 3], a[9, 5] = math.nan, math.inf, -math.inf
    a[:, 4] = 7.0
    return problem_of({"a": a, "b": b}, mos)


def problem_of(blocks, mos, layouts=None):
    layouts = layouts or {"A": (Part("a"),), "A_B": (Part("a", 0, 2), Part("b"), Part("a", 2))}
    checksums = dict.fromkeys(blocks, "0")
    return Problem("mine", tuple(f"mine/{k:02d}" for k in range(len(mos))), mos, blocks, layouts, {}, checksums)


def logistic(x, b1, b2, b3, b4):
    return b2 + (b1 - b2) / (1 + np.exp(-(x - b3) / abs(b4)))


def fitted(pred, mos):
    return curve_fit(logistic, pred, mos, p0=[mos.max(), mos.min(), pred.mean(), 0.5], maxfev=100_000)[0]


def zeroed(part):
    return np.nan_to_num(part, nan=0, posinf=0, neginf=0)


def imputed(part):
    return SimpleImputer().fit_transform(np.where(np.isfinite(part), part, np.nan))


def straightforward(features, mos, index, fill, settings=SMALL):
    """The protocol as it is written: (chosen C, gamma, test predictions, test rows, model's training logistic)."""
    outer, test = train_test_split(np.arange(len(mos)), test_size=0.2, random_state=math.ceil(8.8 * index))
    inner, val = train_test_split(outer, test_size=0.2, random_state=math.ceil(6.6 * index))
    scaler = MinMaxScaler().fit(fill(features[inner]))
    best = (math.inf,)
    for c in settings.c_exponents:
        for gamma in settings.gamma_exponents:
            model = SVR(C=2.0**c, gamma=2.0**gamma).fit(scaler.transform(fill(features[inner])), mos[inner])
            pred = model.predict(scaler.transform(fill(features[val])))
            error = np.sqrt(np.mean((logistic(pred, *fitted(pred, mos[val])) - mos[val]) ** 2))
            best = min(best, (error, c, gamma), key=lambda one: one[0])
    scaler = MinMaxScaler().fit(fill(features[outer]))
    model = SVR(C=2.0 ** best[1], gamma=2.0 ** best[2]).fit(scaler.transform(fill(features[outer])), mos[outer])
    trained = fitted(model.predict(scaler.transform(fill(features[outer]))), mos[outer])
    return best[1:], lambda filler: model.predict(scaler.transform(filler(features[test]))), test, trained


@pytest.mark.parametrize("index", [1, 4])
def test_a_split_equals_the_protocol_written_out(index):
    problem = made_up()
    split = protocol_split(problem.ids, index)
    a, both = run_split(problem, index, split, [Entry("A"), Entry("A_B")], Rules(svr=SMALL))
    for result, columns in ((a, problem.blocks["a"]), (both, np.hstack([problem.blocks["a"], problem.blocks["b"]]))):
        chosen, predict, test, _ = straightforward(columns, problem.mos, index, zeroed)
        mos, pred = problem.mos[test], predict(zeroed)
        mapped = logistic(pred, *fitted(pred, mos))
        assert (result.c, result.gamma) == (2.0 ** chosen[0], 2.0 ** chosen[1])
        assert result.video_ids == tuple(problem.ids[k] for k in test)
        assert result.pred == pytest.approx(pred, abs=2e-3)  # the solver's tolerance
        assert result.srcc == pytest.approx(spearmanr(mos, pred).statistic, abs=0.02)
        assert result.krcc == pytest.approx(kendalltau(mos, pred).statistic, abs=0.03)
        assert result.plcc == pytest.approx(pearsonr(mos, mapped).statistic, abs=2e-3)
        assert result.rmse == pytest.approx(np.sqrt(np.mean((mos - mapped) ** 2)), abs=2e-3)
        assert (result.n_train, result.n_test, result.is_mapped) == (48, 12, True)


def test_the_single_split_program_fills_parts_with_their_means_and_the_scored_test_part_with_zeros():
    problem = made_up()
    (result,) = run_split(problem, 4, protocol_split(problem.ids, 4), [Entry("A")], Rules("mean", ("train",), SMALL))
    chosen, predict, test, trained = straightforward(problem.blocks["a"], problem.mos, 4, imputed)
    assert not np.isfinite(problem.blocks["a"][test]).all()
    mos, pred, searched = problem.mos[test], predict(zeroed), predict(imputed)
    assert (result.c, result.gamma) == (2.0 ** chosen[0], 2.0 ** chosen[1])
    assert result.pred == pytest.approx(pred, abs=2e-3)
    assert result.pred_mapped == pytest.approx(logistic(pred, *trained), abs=4e-3)
    assert result.plcc == pytest.approx(pearsonr(mos, logistic(pred, *trained)).statistic, abs=2e-3)
    error = np.sqrt(np.mean((mos - logistic(searched, *fitted(searched, mos))) ** 2))
    assert result.choice_rmse == pytest.approx(error, abs=4e-3)


def test_a_row_gives_the_same_numbers_alone_and_with_others():
    problem = made_up()
    split = protocol_split(problem.ids, 2)
    together = run_split(problem, 2, split, [Entry("A"), Entry("A_B")], Rules(svr=SMALL))
    (alone,) = run_split(problem, 2, split, [Entry("A_B")], Rules(svr=SMALL))
    assert np.array_equal(alone.pred, together[1].pred)


def test_each_mapping_gives_a_result_of_its_own():
    problem = made_up()
    split = protocol_split(problem.ids, 2)
    results = run_split(problem, 2, split, [Entry("A")], Rules("zero", ("train", "none", "test"), SMALL))
    by_mapping = {result.mapping: result for result in results}
    assert np.array_equal(by_mapping["none"].pred, by_mapping["none"].pred_mapped)
    assert by_mapping["test"].rmse <= min(by_mapping["none"].rmse, by_mapping["train"].rmse) + 1e-9
    assert by_mapping["none"].plcc == pytest.approx(pearsonr(results[0].mos, results[0].pred).statistic, abs=1e-12)


def test_a_constant_prediction_has_no_correlations_and_is_counted():
    problem = made_up()
    split = protocol_split(problem.ids, 1)
    blocks = {"a": np.zeros((60, 2)), "b": problem.blocks["b"]}
    blocks["a"][[problem.ids.index(name) for name in split.outer_train], 0] = np.arange(48.0)
    flat = SVRSettings(c_exponents=(1,), gamma_exponents=(1,))
    (result,) = run_split(problem_of(blocks, problem.mos), 1, split, [Entry("A")], Rules(svr=flat))
    assert all(math.isnan(value) for value in (result.srcc, result.krcc, result.plcc))
    assert result.rmse > 0
    assert (result.counts["constant"], result.is_mapped) == (1, False)


def test_the_gaussian_process_is_a_head_like_the_other():
    problem = made_up()
    split = protocol_split(problem.ids, 3)
    rules = Rules(svr=SMALL, gp=GPSettings(max_evaluations=20))
    results = run_split(problem, 3, split, [Entry("A_B", "gp"), Entry("A_B")], rules)
    assert [result.head for result in results] == ["gp", "svr"]
    assert results[0].srcc > 0.3
    assert math.isnan(results[0].c)


def test_what_cannot_be_trained_names_data_set_and_split():
    problem = made_up(10)
    with pytest.raises(LabelError, match="mine, split 1: 8 videos are too few to fit an SVR"):
        run_split(problem, 1, protocol_split(problem.ids, 1), [Entry("A")], Rules(svr=SMALL))


def test_a_worker_with_other_code_is_refused():
    problem = made_up()
    arguments = (problem, 1, protocol_split(problem.ids, 1), [Entry("A")], Rules(svr=SMALL))
    blocks = (["a"], problem.blocks["a"])
    assert run_unit(*arguments, {"svr": code_sha256("svr")}, *blocks)[0].row == "A"
    with pytest.raises(ConfigError, match="another version of ugcvqa"):
        run_unit(*arguments, {"svr": "0"}, *blocks)


@pytest.mark.parametrize(
    ("head", "module"),
    [("svr", "heads.solver"), ("gp", "heads.gp_fit"), ("sparse_gp", "heads.inducing"), ("gru", "models.losses")],
)
def test_results_depend_on_the_code_that_fits_a_head(monkeypatch, head, module):
    before, source = code_sha256(head), in_full._source
    monkeypatch.setattr(in_full, "_source", lambda name: source(name) + "#" * (name == module))
    assert code_sha256.__wrapped__(head) != before


def test_dependencies_change_with_everything_a_result_depends_on():
    problem, entry, rules = made_up(), Entry("A"), Rules(svr=SMALL)
    split = protocol_split(problem.ids, 1)
    known = [dependencies(problem, 1, split, entry, "test", rules)]
    known.append(dependencies(problem, 1, split, entry, "none", rules))
    known.append(dependencies(problem, 2, protocol_split(problem.ids, 2), entry, "test", rules))
    known.append(dependencies(problem, 1, split, Entry("A_B"), "test", rules))
    known.append(dependencies(problem, 1, split, Entry("A", "gp"), "test", rules))
    known.append(dependencies(problem, 1, split, entry, "test", Rules("mean", svr=SMALL)))
    known.append(dependencies(problem, 1, split, entry, "test", Rules()))
    other = Problem("mine", problem.ids, problem.mos + 0.1, problem.blocks, problem.layouts, {}, problem.checksums)
    known.append(dependencies(other, 1, split, entry, "test", rules))
    other = Problem("mine", problem.ids, problem.mos, problem.blocks, problem.layouts, {}, {"a": "1", "b": "0"})
    known.append(dependencies(other, 1, split, entry, "test", rules))
    assert all(one != two for k, one in enumerate(known) for two in known[:k])
    assert known[0] == dependencies(made_up(), 1, split, entry, "test", rules)
