"""The Gaussian-process head against scikit-learn's, finite differences, closed forms and draws of known processes."""

import dataclasses

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, RationalQuadratic, WhiteKernel

from ugcvqa.errors import CheckpointError, ConfigError, LabelError
from ugcvqa.evaluation.metrics import fit_logistic
from ugcvqa.files import arrays_from_file, arrays_to_bytes
from ugcvqa.heads.gp import FittedGP
from ugcvqa.heads.gp_fit import fit_gp
from ugcvqa.heads.kernels import ParameterPosterior, squared_distances
from ugcvqa.heads.kinds import head_class
from ugcvqa.heads.parts import GPPart
from ugcvqa.heads.scaling import apply_scaling
from ugcvqa.heads.svr_fit import fit_svr
from ugcvqa.scoring.model import QualityModel
from ugcvqa.scoring.model_file import load
from ugcvqa.settings.features import FamilySettings
from ugcvqa.settings.heads import GPSettings

ONE = (GPPart("all", 0, 4, "standard"),)
TWO = (
    GPPart("a/x", 0, 3, "rank"),
    GPPart("a/y", 3, 5, "standard"),
    GPPart("b", 5, 9, "root"),
    GPPart("c", 9, 10, "log"),
)


def problem(count=60, columns=4, seed=0):
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, columns)).astype(np.float32)
    mos = 3 + np.sin(features[:, 0]) + 0.3 * features[:, 1] + 0.2 * random.normal(size=count)
    return features, mos


def mixed(count=60, seed=0):
    """Features for `TWO`: four kinds of columns that all tell something."""
    features, mos = problem(count, 10, seed)
    features[:, 5:9] = np.abs(features[:, 5:9])
    features[:, 9] = 2 ** features[:, 1]
    return features, mos


def twin(head):
    """scikit-learn's kernel with what a head of one part and one term has learned."""
    length = np.sqrt(head.unit_distances[0] / head.kernel.weights[0, 0])
    term = RationalQuadratic(length_scale=length, alpha=head.kernel.mixtures[0])
    return (
        ConstantKernel(head.kernel.constant)
        + ConstantKernel(head.kernel.amplitudes[0]) * term
        + WhiteKernel(noise_level=head.noise)
    )


@pytest.fixture(scope="module")
def fitted():
    features, mos = problem()
    return features, mos, *fit_gp(features, mos, ONE)


def test_posterior_equals_scikit_learn(fitted):
    features, mos, head, report = fitted
    new = np.random.default_rng(5).normal(size=(20, 4)).astype(np.float32)
    scaled, scaled_new = (apply_scaling(x, "standard", head.tables[0]).astype(float) for x in (features, new))
    other = GaussianProcessRegressor(twin(head), alpha=0, optimizer=None)
    other.fit(scaled, (mos - mos.mean()) / mos.std())
    mean, std = other.predict(scaled_new, return_std=True)
    ours, our_std = head.predict_with_std(new)
    np.testing.assert_allclose(ours, mean * mos.std() + mos.mean(), rtol=0, atol=1e-9)
    np.testing.assert_allclose(our_std, std * mos.std(), rtol=0, atol=1e-9)
    assert report.log_marginal_likelihood == pytest.approx(other.log_marginal_likelihood_value_, abs=1e-8)
    np.testing.assert_array_equal(head.predict(new), ours)


def test_logistic_is_fitted_to_predictions_without_the_video_itself(fitted):
    features, mos, head, _ = fitted
    scaled = apply_scaling(features, "standard", head.tables[0]).astype(float)
    standardised = (mos - mos.mean()) / mos.std()
    left_out = []
    for index in range(len(mos)):
        rest = np.arange(len(mos)) != index
        other = GaussianProcessRegressor(twin(head), alpha=0, optimizer=None).fit(scaled[rest], standardised[rest])
        left_out.append(other.predict(scaled[[index]])[0])
    expected = fit_logistic(np.array(left_out) * mos.std() + mos.mean(), mos)
    np.testing.assert_allclose(head.logistic([2.0, 3.0, 4.0]), expected([2.0, 3.0, 4.0]), atol=1e-4)


def test_gradient_equals_finite_differences():
    random = np.random.default_rng(0)
    distances = [squared_distances(x, x) for x in (random.normal(size=(30, 3)), random.normal(size=(30, 2)))]
    is_used = np.array([[True, True], [True, False], [False, True]])
    posterior = ParameterPosterior(distances, random.normal(size=30), is_used)
    for seed in range(3):
        at = posterior.start + np.random.default_rng(seed).normal(size=posterior.start.size)
        numeric = approx_fprime(at, lambda values: posterior.negative_log(values)[0], 1e-6)
        np.testing.assert_allclose(posterior.negative_log(at)[1], numeric, rtol=1e-4, atol=1e-3)


def test_uncertainty_covers_draws_of_a_process():
    random = np.random.default_rng(1)
    features = random.normal(size=(500, 3)).astype(np.float32)
    distances = squared_distances(features.astype(float), features.astype(float))
    covariance = 0.5 * (1 + distances / 4) ** -1.0 + 1e-9 * np.eye(500)
    mos = 3 + np.linalg.cholesky(covariance) @ random.normal(size=500) + 0.3 * random.normal(size=500)
    head, report = fit_gp(features[:200], mos[:200], (GPPart("all", 0, 3, "standard"),))
    mean, std = head.predict_with_std(features[200:])
    z = (mos[200:] - mean) / std
    assert abs(np.mean(np.abs(z) < 1) - 0.683) < 0.07
    assert abs(np.mean(np.abs(z) < 2) - 0.954) < 0.04
    assert report.noise == pytest.approx(0.3, abs=0.06)
    far = head.predict_with_std(np.full((1, 3), 50, dtype=np.float32))[1]
    assert far[0] > std.mean()


def test_an_informative_part_outweighs_a_useless_one():
    features, _ = problem(120, 2)
    mos = 3 + np.sin(2 * features[:, 0])
    report = fit_gp(features, mos, (GPPart("g/told", 0, 1, "rank"), GPPart("g/noise", 1, 2, "rank")))[1]
    assert report.weights["g"]["g/told"] > 10 * report.weights["g"]["g/noise"]
    assert report.is_converged
    assert sum(report.weights["g"].values()) == pytest.approx(1)


def test_order_of_rows_does_not_matter():
    features, mos = mixed()
    order = np.random.default_rng(2).permutation(len(mos))
    one, other = (fit_gp(features[rows], mos[rows], TWO)[0] for rows in (np.arange(len(mos)), order))
    new, _ = mixed(20, seed=3)
    np.testing.assert_allclose(one.predict(new), other.predict(new), rtol=0, atol=1e-3)


def test_precision_of_the_table_does_not_matter():
    features, mos = mixed()
    one, other = (fit_gp(table, mos, TWO)[0] for table in (features, features.astype(np.float64)))
    np.testing.assert_array_equal(one.predict(features), other.predict(features.astype(np.float64)))


def test_wild_values_give_a_score_near_the_others():
    features, mos = mixed()
    features[:3, 0] = np.nan, np.inf, 1e26
    head, report = fit_gp(features, mos, TWO)
    assert report.n_nonfinite == 2
    new = np.repeat(features[5:6], 4, axis=0).astype(np.float64)
    new[0, 0], new[1, :], new[2, :], new[3, :] = 1e300, np.nan, np.inf, -np.inf
    mean, std = head.predict_with_std(new)
    assert np.isfinite(std).all()
    assert (np.abs(mean - mos.mean()) < 4 * mos.std()).all()


def test_memory_blocks_do_not_change_a_prediction(fitted, monkeypatch):
    features, _, head, _ = fitted
    expected = head.predict(features)
    monkeypatch.setattr("ugcvqa.heads.gp.BLOCK_VALUES", 500)
    np.testing.assert_allclose(head.predict(features), expected, rtol=0, atol=1e-12)
    assert head.predict(features[:0]).shape == (0,)


def test_saved_head_predicts_bit_for_bit(tmp_path):
    features, mos = mixed()
    head, _ = fit_gp(features, mos, TWO)
    (tmp_path / "head").write_bytes(arrays_to_bytes(*head.to_arrays()))
    again = FittedGP.from_arrays(*arrays_from_file(tmp_path / "head"))
    for ours, other in zip(head.predict_with_std(features), again.predict_with_std(features), strict=True):
        np.testing.assert_array_equal(ours, other)
    assert again.to_arrays()[1] == head.to_arrays()[1]
    model = QualityModel(head, "MINE", FamilySettings(), "MOS", (1.0, 5.0), "noise")
    model.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert loaded.head.kind == "gp"
    np.testing.assert_array_equal(loaded.predict(features), head.predict(features))


def test_every_head_is_known_by_its_kind():
    features, mos = problem()
    svr, _ = fit_svr(features, mos, range(40), range(40, 60))
    for head in (svr, fit_gp(features, mos, ONE)[0]):
        assert head_class(head.kind) is type(head)
        again = type(head).from_arrays(*head.to_arrays())
        np.testing.assert_array_equal(again.predict(features), head.predict(features))
    assert np.isnan(svr.predict_with_std(features)[1]).all()
    with pytest.raises(CheckpointError, match="head 'forest' is unknown"):
        head_class("forest")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("values", None, "lacks its part 'values'"),
        ("values", np.zeros((60, 4)), "values is float64"),
        ("coefficients", np.zeros(59), "values is float32"),
        ("weights", np.array([[-1.0]]), "not a finite number of its range"),
        ("weights", np.array([[np.nan]]), "other than finite"),
        ("table0", np.zeros((2, 3), np.float32), "for 4 columns"),
        ("table0", np.full((2, 4), np.nan, np.float32), "other than finite float32"),
    ],
)
def test_damaged_head_is_refused_in_one_line(fitted, name, value, message):
    arrays, values = fitted[2].to_arrays()
    if value is None:
        del arrays[name]
    else:
        arrays[name] = value
    with pytest.raises(CheckpointError, match=message) as caught:
        FittedGP.from_arrays(arrays, values)
    assert "\n" not in str(caught.value)


def test_damaged_values_are_refused(fitted):
    arrays, values = fitted[2].to_arrays()
    for change in ({"noise": 0.0}, {"noise": float("nan")}, {"parts": []}, {"logistic": [1.0]}):
        with pytest.raises(CheckpointError):
            FittedGP.from_arrays(arrays, {**values, **change})
    part = {**values["parts"][0], "scaling": "nonsense"}
    with pytest.raises(CheckpointError, match="scaling 'nonsense' is unknown"):
        FittedGP.from_arrays(arrays, {**values, "parts": [part]})


def filled(features, mos, feature=None, score=None, first=None):
    """Copies of a problem's tables with all features, all scores or the first score replaced."""
    features = features.copy() if feature is None else np.full_like(features, feature)
    mos = mos.copy() if score is None else np.full_like(mos, score)
    mos[0] = mos[0] if first is None else first
    return features, mos


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (lambda f, m: (f[:9], m[:9]), "9 videos are too few"),
        (lambda f, m: (f, m[:-1]), "do not match MOS"),
        (lambda f, m: (f[:, :3], m), "do not match parts"),
        (lambda f, m: filled(f, m, first=np.nan), "1 of 60 MOS are NaN"),
        (lambda f, m: filled(f, m, score=2), "all 60 MOS equal 2"),
        (lambda f, m: filled(f, m, feature=np.nan), "no finite value"),
        (lambda f, m: filled(f, m, feature=0.1), "all 4 feature columns are constant"),
    ],
)
def test_bad_tables_are_one_line(table, message):
    with pytest.raises(LabelError, match=message) as caught:
        fit_gp(*table(*problem()), ONE)
    assert "\n" not in str(caught.value)


def test_wrong_width_and_settings_are_one_line(fitted):
    with pytest.raises(LabelError, match="trained on 4 columns"):
        fitted[2].predict(np.zeros((2, 5)))
    with pytest.raises(ConfigError, match="max_evaluations is 0"):
        GPSettings(max_evaluations=0)
    with pytest.raises(ConfigError, match="tolerance"):
        GPSettings(tolerance=0)


def test_bound_on_evaluations_is_kept_and_told(caplog):
    features, mos = problem()
    report = fit_gp(features, mos, ONE, GPSettings(max_evaluations=3))[1]
    assert not report.is_converged
    assert report.n_evaluations <= 5  # the search ends its line search
    assert "without converging" in caplog.text


def test_constant_part_is_ignored():
    features, mos = problem()
    wide = np.concatenate([features, np.full((60, 1), 0.1)], axis=1)
    parts = (*ONE, GPPart("rate", 4, 5, "log"))
    head, _ = fit_gp(wide, mos, parts)
    plain, _ = fit_gp(features, mos, ONE)
    other = wide.copy()
    other[:, 4] = 60
    np.testing.assert_array_equal(head.predict(other), head.predict(wide))
    assert np.corrcoef(head.predict(wide), plain.predict(features))[0, 1] > 0.999


def test_parts_are_plain_values(fitted):
    assert [GPPart(**dataclasses.asdict(part)) for part in fitted[2].parts] == list(ONE)
