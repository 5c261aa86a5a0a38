"""The GRU head on many splits at once gives what `fit` gives on each split alone."""

import numpy as np
import pytest
import torch
from trainings import DIM, QUIET, sequences

from ugcvqa.heads.gru import VSFAHead, build_gru
from ugcvqa.heads.gru_stack import stacked_parameters, stacked_scores
from ugcvqa.samples.sequences import SequenceSource, pack
from ugcvqa.training.datamodule import TrainingData
from ugcvqa.training.gru_splits import RowSplit, train_gru_splits
from ugcvqa.training.learning import train
from ugcvqa.training.regressor import QualityRegressor
from ugcvqa.training_settings import GRUSettings, RecipeSettings

CPU = torch.device("cpu")


def splits(count=3, videos=41):
    order = np.random.default_rng(1)
    rows = [order.permutation(videos) for _ in range(count)]
    return [RowSplit(row[:27], row[27:34], row[34:]) for row in rows]


def settings(**recipe):
    recipe = {"epochs": 4, "batch_size": 5, "lr": 3e-3, **recipe}
    return GRUSettings(8, 6, 3, recipe=RecipeSettings(**recipe))


def one_by_one(folder, table, mos, split, chosen):
    """The weights of the best epoch, that epoch and its SRCC, by the way of `fit`."""
    recipe, scale = chosen.recipe, float(mos.max())
    head = build_gru(chosen, table.dim)
    if recipe.starts_at_mean:
        torch.nn.init.constant_(head.quality.bias, float(mos[split.train].mean()) / scale)
    regressor = QualityRegressor(head, scale, recipe, {"kind": "gru"})
    data = TrainingData(
        SequenceSource(table, mos), split.train.tolist(), split.val.tolist(), recipe.batch_size, recipe.seed
    )
    outcome = train(regressor, data, folder, recipe, [], QUIET)
    return head, outcome


def test_stacked_scores_are_those_of_each_head():
    random = torch.Generator().manual_seed(0)
    heads = [VSFAHead(DIM, 8, 6, tau=3) for _ in range(3)]
    lengths = torch.tensor([[3, 1, 9], [5, 5, 2], [1, 1, 1]])
    frames = torch.full((3, 13, DIM), 7.0)
    expected = []
    for at, head in enumerate(heads):
        total = int(lengths[at].sum())
        frames[at, :total] = torch.randn(total, DIM, generator=random)
        expected.append(head(frames[at, :total], lengths[at].tolist()))
    found = stacked_scores(stacked_parameters(heads), frames, lengths, 3, 0.5)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "recipe",
    [
        {"clip_norm": 0.02},
        {"optimiser": "adam", "schedule": "step", "epochs": 12, "l1": 1.0, "plcc": 0.0, "rank": 0.0, "clip_norm": 0.0},
        {"epochs": 12, "patience": 1, "starts_at_mean": False},
    ],
    ids=["clipped AdamW", "published kind of recipe", "early stopping"],
)
def test_splits_at_once_equal_splits_one_by_one(tmp_path, recipe):
    ids, frames, mos = sequences()
    table, chosen = pack(ids, frames, torch.float32), settings(**recipe)
    found = train_gru_splits(table, mos, splits(), chosen, CPU)
    for at, split in enumerate(splits()):
        head, outcome = one_by_one(tmp_path / str(at), table, mos, split, chosen)
        one = found[at]
        assert (one.best_epoch, one.epochs) == (outcome.best_epoch, outcome.epochs)
        assert one.val_srcc == pytest.approx(outcome.val_srcc, abs=1e-9)
        for name, value in head.state_dict().items():
            torch.testing.assert_close(
                one.weights[name], value, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
            )
        pieces = [table.sequence(row) for row in split.test]
        pred = float(mos.max()) * head(torch.cat(pieces), [len(piece) for piece in pieces])
        np.testing.assert_allclose(one.pred, pred.detach().double(), rtol=1e-4)
