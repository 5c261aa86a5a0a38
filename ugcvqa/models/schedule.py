"""Optimiser and learning-rate schedule of a training."""

import math
from typing import Any

import torch
from torch import nn

from ugcvqa.settings.training import RecipeSettings

_STEPS_OF_DECAY = 10  # of the schedule `step`: one every tenth of the epochs
_DECAY = 0.8


def optimiser_of(network: nn.Module, recipe: RecipeSettings) -> torch.optim.Optimizer:
    """Makes the optimiser of a recipe; biases and normalisations do not decay.

    Args:
        network: parameters below `backbone.` get the backbone's learning rate; those without gradient are left alone.
        recipe: how to train.
    """
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        part = "backbone" if name.startswith("backbone.") else "head"
        decays = parameter.ndim > 1
        key = part if decays else f"{part} without decay"
        lr = recipe.backbone_lr if part == "backbone" else recipe.lr
        group = {"name": key, "params": [], "lr": lr, "weight_decay": recipe.weight_decay if decays else 0.0}
        groups.setdefault(key, group)["params"].append(parameter)
    kind = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
    return kind(list(groups.values()))


def rate_factor(recipe: RecipeSettings, step: int, epochs: int, steps_per_epoch: int) -> float:
    """Factor of the learning rate, by the learning-rate schedule of a recipe.

    Args:
        recipe: how to train.
        step: epochs done for the schedule `step`, otherwise optimiser steps done.
        epochs: epochs of the whole training.
        steps_per_epoch: optimiser steps of each.
    """
    if recipe.schedule == "step":
        return _DECAY ** (step // max(1, epochs // _STEPS_OF_DECAY))
    return cosine_factor(step, epochs * steps_per_epoch, recipe.warm_up) if recipe.schedule == "cosine" else 1.0


def cosine_factor(step: int, total: int, warm_up: float) -> float:
    """Factor of the learning rate: a straight rise over the first share of the steps, then half a cosine to 0.

    Args:
        step: steps done.
        total: steps of the whole training.
        warm_up: share of the steps in which the rate rises.

    Returns:
        Between 0 and 1; never 0 at the first step.
    """
    rising = math.ceil(warm_up * total)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, total - rising))))
