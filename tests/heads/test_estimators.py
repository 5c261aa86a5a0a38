import subprocess
import sys

import numpy as np
import pytest
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVR

from ugcvqa.errors import CheckpointError, ConfigError, LabelError, StoreError
from ugcvqa.heads import GPHead, SparseGPHead, SVRHead


def problem(count=80, seed=0, columns=6):
    random = np.random.default_rng(seed)
    x = random.uniform(size=(count, columns))
    return x, 3 + np.sin(4 * x[:, 0]) + x[:, 1] + random.normal(0, 0.1, count)


HEADS = [
    SVRHead(c_exponents=(1, 3, 5), gamma_exponents=(-4, -2, 0)),
    GPHead(),
    SparseGPHead(inducing=20, dimensions=6),
]


@pytest.fixture(scope="module", params=HEADS, ids=lambda head: head.kind)
def head(request):
    return request.param.fit(*problem())


def test_head_learns_and_comes_back_from_its_file(head, tmp_path):
    new, mos = problem(200, seed=1)
    assert np.corrcoef(head.predict(new), mos)[0, 1] > 0.85
    head.save(tmp_path / "head.safetensors")
    again = type(head).load(tmp_path / "head.safetensors")
    for method in ("predict", "uncertainty", "interval"):
        np.testing.assert_allclose(getattr(again, method)(new), getattr(head, method)(new), rtol=1e-12)
    assert again.values == head.values
    refitted = again.fit(*problem())
    np.testing.assert_array_equal(refitted.predict(new), head.predict(new))
    assert repr(again) == f"{type(head).__name__}(fitted)"


def test_uncertainty_and_intervals_hold_new_scores_where_a_head_has_them(head):
    new, mos = problem(400, seed=1)
    deviation, interval = head.uncertainty(new), head.interval(new)
    np.testing.assert_array_equal(interval.mean, head.predict(new))
    if head.kind == "svr":
        assert np.isnan(deviation).all()
        assert head.contributions(new) == {}
        return
    assert np.mean(np.abs(head.predict(new) - mos) < deviation) == pytest.approx(0.68, abs=0.15)
    assert sum(head.contributions(new).values()) + head.fitted.base == pytest.approx(head.predict(new), abs=1e-9)
    if head.kind == "sparse_gp":
        assert np.mean((interval.low <= mos) & (mos <= interval.high)) == pytest.approx(0.9, abs=0.08)
    else:
        assert np.isnan(interval.low).all()


def test_svr_is_scikit_learns_with_the_candidate_that_the_hold_out_chooses():
    x, mos = problem()
    order = np.random.default_rng(0).permutation(80)
    val, train = np.sort(order[:16]), np.sort(order[16:])
    head = SVRHead(c_exponents=(0, 4), gamma_exponents=(-3,)).fit(x, mos)

    def scikit(c, fitted):
        scaler = MinMaxScaler().fit(x[fitted])
        model = SVR(C=2.0**c, gamma=0.125, epsilon=0.1).fit(scaler.transform(x[fitted]), mos[fitted])
        return lambda new: model.predict(scaler.transform(new))

    errors = {c: np.std(scikit(c, train)(x[val]) - mos[val]) for c in (0, 4)}
    assert 2.0 ** min(errors, key=errors.get) == head.fitted.C
    new, _ = problem(50, seed=1)
    assert head.predict(new) == pytest.approx(scikit(np.log2(head.fitted.C), np.arange(80))(new), abs=1e-6)


def test_what_cannot_be_used_is_one_clear_error(tmp_path):
    x, mos = problem()
    with pytest.raises(LabelError, match=r"this GPHead is not fitted; call fit\(X, mos\) first"):
        GPHead().predict(x)
    with pytest.raises(LabelError, match=r"shape \(80, 6\) do not match MOS of shape \(79,\)"):
        SVRHead().fit(x, mos[1:])
    with pytest.raises(LabelError, match="MOS must be numbers"):
        SVRHead().fit(x, ["good"] * 80)
    with pytest.raises(LabelError, match="9 videos are too few"):
        SVRHead().fit(x[:9], mos[:9])
    with pytest.raises(LabelError, match=r"give numbers \(videos, features\)"):
        SVRHead().fit([["a"]] * 80, mos)
    with pytest.raises(ConfigError, match="validation is 1"):
        SVRHead(validation=1)
    GPHead().fit(x, mos).save(tmp_path / "gp.safetensors")
    with pytest.raises(CheckpointError, match="holds a head of kind 'gp', not 'svr'"):
        SVRHead.load(tmp_path / "gp.safetensors")
    (tmp_path / "text").write_text("no head")
    with pytest.raises(StoreError):
        SVRHead.load(tmp_path / "text")


def test_entering_the_folder_of_heads_imports_nothing_heavy():
    code = "import ugcvqa.heads, sys; print([m for m in ('torch', 'sklearn', 'scipy.optimize') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_row_has_the_parts_and_the_cost_of_missing_motion_that_fit_gives_it():
    """Rows with facts of the pixels lose MOS by a formula where few frames are new."""
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 1838))
    x[:, 1836], x[:, 1837] = 30, random.choice([360, 720, 1080], size=60)
    head = SparseGPHead(row="NSS_PIXELS", inducing=10, dimensions=4).fit(x, random.uniform(1, 5, size=60))
    slow = x[:5].copy()
    slow[:, 1836] = 5
    np.testing.assert_allclose(head.predict(x[:5]) - head.predict(slow), 0.583, atol=0.01)
