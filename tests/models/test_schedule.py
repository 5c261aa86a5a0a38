"""Learning-rate schedules against those of PyTorch and their closed form."""

import math

import pytest
import torch
from torch.optim.lr_scheduler import StepLR

from ugcvqa.models.schedule import cosine_factor, rate_factor
from ugcvqa.settings.training import RecipeSettings


@pytest.mark.parametrize("epochs", [1, 9, 20, 35, 2000])
def test_step_schedule_is_that_of_the_published_program(epochs):
    """VSFA's program: `StepLR(step_size=int(epochs / 10), gamma=0.8)`, whose step must be 1 at least."""
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    published = StepLR(optimiser, step_size=max(1, int(epochs / 10)), gamma=0.8)
    for epoch in range(epochs):
        expected = optimiser.param_groups[0]["lr"]
        assert rate_factor(RecipeSettings(schedule="step"), epoch, epochs, 7) == pytest.approx(expected, rel=1e-12)
        optimiser.step()
        published.step()


def test_cosine_schedule_warms_up_over_a_twentieth_of_the_steps():
    recipe = RecipeSettings(schedule="cosine")
    factors = [rate_factor(recipe, step, 20, 10) for step in range(201)]
    rise = [(step + 1) / 11 for step in range(10)]  # 10 of 200 steps, from one part in eleven
    fall = [(1 + math.cos(math.pi * step / 190)) / 2 for step in range(191)]
    assert factors == pytest.approx(rise + fall, abs=1e-12)


def test_a_constant_rate_stays_as_it_is():
    assert [rate_factor(RecipeSettings(schedule="constant"), step, 3, 5) for step in (0, 7, 14)] == [1, 1, 1]


def test_a_warm_up_that_takes_all_steps_only_rises():
    assert [cosine_factor(step, 3, 1.0) for step in range(3)] == [0.25, 0.5, 0.75]
