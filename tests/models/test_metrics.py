import math
import pickle
from datetime import timedelta

import numpy as np
import pytest
import torch
from scipy import stats

from ugcvqa.models.metrics import KRCC, PLCC, RMSE, SRCC, quality_metrics

REFERENCES = {
    SRCC: lambda mos, pred: stats.spearmanr(mos, pred).statistic,
    KRCC: lambda mos, pred: stats.kendalltau(mos, pred).statistic,
    PLCC: lambda mos, pred: stats.pearsonr(mos, pred).statistic,
    RMSE: lambda mos, pred: math.sqrt(np.mean((mos - pred) ** 2)),
}


def samples(n, seed=0, decimals=8):
    rng = np.random.default_rng(seed)
    mos = np.round(rng.uniform(1, 5, n), decimals)
    pred = np.round(0.7 * mos + rng.normal(0, 0.5, n), decimals)
    return torch.from_numpy(pred), torch.from_numpy(mos), torch.arange(n)


def in_batches(metric, rows, size):
    for start in range(0, len(rows[0]), size):
        metric.update(*(column[start : start + size] for column in rows))
    return metric


@pytest.mark.parametrize("kind", REFERENCES)
@pytest.mark.parametrize("decimals", [8, 1, 0])
def test_figures_equal_scipy_with_and_without_ties(kind, decimals):
    pred, mos, index = samples(101, decimals=decimals)
    value = in_batches(kind(), (pred, mos, index), 16).compute()
    assert value.item() == pytest.approx(REFERENCES[kind](mos.numpy(), pred.numpy()), abs=1e-13)


@pytest.mark.parametrize("kind", REFERENCES)
def test_samples_that_arrive_again_count_once(kind):
    pred, mos, index = samples(11)
    once = in_batches(kind(), (pred, mos, index), 4).compute()
    padded = in_batches(kind(), tuple(torch.cat((column, column[:5])) for column in (pred, mos, index)), 4)
    assert padded.compute().item() == once.item()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_predictions_in_columns_are_accepted(dtype):
    pred, mos, index = samples(20)
    metric = SRCC()
    metric.update(pred[:, None].to(dtype).requires_grad_(), mos[:, None], index[:, None])
    assert metric.compute().item() == pytest.approx(stats.spearmanr(pred.to(dtype).double(), mos).statistic, abs=1e-14)


@pytest.mark.parametrize("kind", REFERENCES)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_diverged_prediction_gives_nan(kind, bad):
    pred, mos, index = samples(20)
    pred[7] = bad
    assert in_batches(kind(), (pred, mos, index), 6).compute().isnan()


def test_a_constant_prediction_gives_nan_correlations():
    _, mos, index = samples(20)
    metrics = quality_metrics("val")
    metrics.update(torch.full((20,), 3.1), mos, index)
    values = metrics.compute()
    assert [name for name, value in values.items() if value.isnan()] == ["val/krcc", "val/plcc", "val/srcc"]


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_no_samples_give_nan():
    assert SRCC().compute().isnan()


def test_an_index_that_does_not_identify_samples_is_refused():
    metric = in_batches(SRCC(), (*samples(20)[:2], torch.arange(20) % 4), 4)
    with pytest.raises(ValueError, match="different MOS"):
        metric.compute()


def test_wrong_shapes_are_refused():
    pred, mos, index = samples(4)
    with pytest.raises(ValueError, match=r"pred has shape \(2, 2\)"):
        SRCC().update(pred.reshape(2, 2), mos, index)
    with pytest.raises(ValueError, match="of one length"):
        SRCC().update(pred, mos[:1], index)


@pytest.mark.parametrize("stage", ["train", "val", "test"])
def test_the_four_metrics_of_a_stage(stage):
    rows = samples(50, seed=3)
    values = in_batches(quality_metrics(stage), rows, 7).compute()
    expected = {
        kind.__name__.lower(): reference(rows[1].numpy(), rows[0].numpy()) for kind, reference in REFERENCES.items()
    }
    assert {name: value.item() for name, value in values.items()} == pytest.approx(
        {f"{stage}/{name}": value for name, value in expected.items()}, abs=1e-13
    )


def test_the_four_metrics_share_one_copy_and_start_anew_after_reset():
    metrics = quality_metrics("val")
    in_batches(metrics, samples(30), 10)
    assert len(metrics.compute_groups) == 1
    metrics.reset()
    rows = samples(12, seed=9)
    assert in_batches(metrics, rows, 5).compute()["val/srcc"].item() == pytest.approx(
        stats.spearmanr(rows[0], rows[1]).statistic, abs=1e-14
    )


def test_metrics_can_be_copied_to_other_processes():
    metric = in_batches(SRCC(), samples(20), 7)
    assert pickle.loads(pickle.dumps(metric)).compute() == metric.compute()


def compute_in_process(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    rows = samples(11)
    # What a distributed sampler does with 11 samples: 0, 2, .. 10 and 1, 3, .. 9 and 0 again as padding.
    own = torch.tensor([[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 0]][rank])
    padded = in_batches(quality_metrics("val"), tuple(column[own] for column in rows), 2).compute()
    lonely = SRCC()
    if rank == 1:
        in_batches(lonely, rows, 4)
    torch.save({**padded, "lonely": lonely.compute()}, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.ddp
@pytest.mark.skipif("fork" not in torch.multiprocessing.get_all_start_methods(), reason="needs fork")
def test_two_processes_with_uneven_data_give_the_exact_figures(tmp_path):
    # Forked, because a fresh process would take ten seconds to import torchmetrics.
    torch.multiprocessing.start_processes(compute_in_process, (str(tmp_path),), nprocs=2, start_method="fork")
    rows = samples(11)
    expected = in_batches(quality_metrics("val"), rows, 11).compute()
    expected["lonely"] = expected["val/srcc"]
    for rank in (0, 1):
        assert torch.load(tmp_path / f"{rank}.pt", weights_only=True) == expected
