import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from ugcvqa.models.losses import plcc_loss, quality_loss, rank_loss


def samples(seed=0, count=12):
    random = np.random.default_rng(seed)
    mos = random.uniform(1, 5, count)
    return torch.from_numpy(0.6 * mos + random.normal(0, 1, count)), torch.from_numpy(mos)


@pytest.mark.parametrize("seed", range(4))
def test_plcc_loss_is_a_function_of_pearsons_correlation(seed):
    pred, mos = samples(seed)
    r = stats.pearsonr(pred, mos).statistic
    assert plcc_loss(pred, mos).item() == pytest.approx(((1 - r) / 2 + (1 - r * r) / 4) / 2, abs=1e-9)
    assert plcc_loss(3 * pred + 7, mos).item() == pytest.approx(plcc_loss(pred, mos).item(), abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_rank_loss_equals_the_sum_over_pairs(seed):
    pred, mos = samples(seed, 7)
    mos[1] = mos[2]  # a tie is never in the wrong order
    terms = [
        max(0.0, (pred[i] - pred[j]).item() * np.sign((mos[j] - mos[i]).item()))
        for i, j in itertools.permutations(range(7), 2)
    ]
    assert rank_loss(pred, mos).item() == pytest.approx(sum(terms) / 42 / (1 + max(terms)), abs=1e-12)


def test_perfect_order_costs_nothing():
    _, mos = samples()
    assert rank_loss(2 * mos, mos).item() == 0
    assert plcc_loss(2 * mos, mos).item() == pytest.approx(0, abs=1e-12)
    assert plcc_loss(-mos, mos).item() == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("count", [1, 5])
def test_constant_predictions_and_single_samples_have_finite_gradients(count):
    pred = torch.full((count,), 2.0, requires_grad=True)
    quality_loss(pred, torch.arange(count).float(), 1.0, 1.0, 0.3).backward()
    assert torch.isfinite(pred.grad).all()


def test_weights_add_up():
    pred, mos = (values.float() for values in samples())
    parts = [quality_loss(pred, mos, *weights) for weights in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    assert parts[0].item() == pytest.approx((pred - mos).abs().mean().item())
    total = quality_loss(pred, mos, 0.5, 2.0, 0.3)
    assert total.item() == pytest.approx(0.5 * parts[0].item() + 2 * parts[1].item() + 0.3 * parts[2].item(), rel=1e-6)
