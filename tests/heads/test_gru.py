"""The GRU head against the published code's numbers, and its temporal pooling against a plain loop."""

import math

import numpy as np
import pytest
import torch

from tests.support.golden import golden_arrays
from ugcvqa.errors import CheckpointError
from ugcvqa.heads.gru import VSFAHead, published_head, temporal_pool
from ugcvqa.models.losses import quality_loss

PUBLISHED = {
    "ann.fc0.weight": "projection.weight",
    "ann.fc0.bias": "projection.bias",
    "rnn.weight_ih_l0": "gru.weight_ih_l0",
    "rnn.weight_hh_l0": "gru.weight_hh_l0",
    "rnn.bias_ih_l0": "gru.bias_ih_l0",
    "rnn.bias_hh_l0": "gru.bias_hh_l0",
    "q.weight": "quality.weight",
    "q.bias": "quality.bias",
}


@pytest.fixture(scope="module")
def golden():
    return golden_arrays("deep_public")


@pytest.fixture(scope="module")
def frames(golden):
    return torch.from_numpy(golden["gru_features"].astype(np.float32))


@pytest.fixture(scope="module")
def published(shared):
    return published_head(shared / "golden/vsfa_gru_konvid.npz")


def test_published_head_gives_the_published_scores(golden, frames, published, there):
    head, scale = published
    head, frames = there(head), there(frames)
    lengths = golden["gru_lengths"].tolist()
    assert scale == pytest.approx(4.64)
    with torch.no_grad():
        together = head(frames, lengths).cpu()
        alone = torch.cat([head(part, [len(part)]) for part in frames.split(lengths)]).cpu()
    for key in ("gru_score", "gru_score_batch_zero_pad", "gru_score_batch_seven_pad"):
        np.testing.assert_allclose(together, golden[key], rtol=0, atol=1e-5)
        np.testing.assert_allclose(alone, golden[key], rtol=0, atol=1e-5)


def test_published_head_gives_the_published_frame_qualities(golden, frames, published, there):
    head = there(published[0])
    lengths = golden["gru_lengths"].tolist()
    with torch.no_grad():
        q = head.frame_quality(there(frames), lengths)
        pooled = temporal_pool(q, there(torch.tensor(lengths)), 12, 0.5)
    flat = [torch.cat([row[:n] for row, n in zip(rows.cpu(), lengths, strict=True)]) for rows in (q, pooled)]
    np.testing.assert_allclose(flat[0], golden["gru_q"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(flat[1], golden["gru_tp"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 1e-6), (torch.bfloat16, 5e-3)])
def test_half_precision_features_give_nearly_the_same_scores(golden, frames, published, dtype, tolerance, there):
    lengths = golden["gru_lengths"].tolist()
    with torch.no_grad():
        scores = there(published[0])(there(frames.to(dtype)), lengths)
    np.testing.assert_allclose(scores.cpu(), golden["gru_score"], rtol=0, atol=tolerance)


def test_temporal_pooling_equals_the_published_code(golden, there):
    lengths = torch.from_numpy(golden["tp_lengths"])
    parts = torch.from_numpy(golden["tp_q"]).split(lengths.tolist())
    padded = torch.full((len(parts), int(lengths.max())), math.nan)
    for row, part in zip(padded, parts, strict=True):
        row[: len(part)] = part
    pooled = temporal_pool(there(padded), there(lengths), 12, 0.5).cpu()
    assert torch.isfinite(pooled).all()
    flat = torch.cat([row[:n] for row, n in zip(pooled, lengths.tolist(), strict=True)])
    np.testing.assert_allclose(flat, golden["tp_out"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("tau", [1, 3, 12])
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_temporal_pooling_follows_its_definition(tau, beta):
    q = np.random.default_rng(tau).normal(size=17) * 3
    expected = []
    for t in range(q.size):
        memory = q[max(0, t - tau + 1) : t + 1].min()
        window = q[t : t + tau]
        present = (window * np.exp(-window)).sum() / np.exp(-window).sum()
        expected.append(beta * present + (1 - beta) * memory)
    pooled = temporal_pool(torch.from_numpy(q)[None], torch.tensor([17]), tau, beta)
    np.testing.assert_allclose(pooled[0], expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("level", [-1000.0, 1000.0])
def test_temporal_pooling_and_its_gradient_survive_large_values(level):
    q = (level + torch.arange(20.0)).requires_grad_()
    pooled = temporal_pool(q[None], torch.tensor([20]), 12, 0.5)
    pooled.sum().backward()
    assert torch.isfinite(pooled).all()
    assert q.grad.sum() == pytest.approx(20, abs=1e-3)  # a shift of all q shifts every pooled value


def test_padding_gets_no_gradient():
    q = torch.randn(2, 9, requires_grad=True)
    temporal_pool(q, torch.tensor([9, 4]), 3, 0.5).sum().backward()
    assert (q.grad[1, 4:] == 0).all()
    assert torch.isfinite(q.grad).all()


def test_training_repeats_the_published_code_step_by_step(golden, frames, there):
    torch.manual_seed(int(golden["train_seed"]))
    head, frames = there(VSFAHead()), there(frames)
    parameters = dict(head.named_parameters())

    def check_sums(key, tolerance):
        for name, total in zip(golden["train_init_names"], golden[key], strict=True):
            if str(name) in PUBLISHED:
                value = float(parameters[PUBLISHED[str(name)]].detach().double().sum())
                assert value == pytest.approx(total, abs=tolerance), name

    check_sums("train_init_sum", 1e-6)
    labels = there(torch.from_numpy(golden["train_labels"]))
    optimiser = torch.optim.Adam(head.parameters(), lr=float(golden["train_lr"]))
    for loss_expected, pred_expected in zip(golden["train_loss"], golden["train_pred"], strict=True):
        pred = head(frames, golden["gru_lengths"].tolist())
        np.testing.assert_allclose(pred.detach().cpu(), pred_expected, rtol=0, atol=1e-5)
        loss = quality_loss(pred, labels, 1.0, 0.0, 0.0)
        assert loss.item() == pytest.approx(loss_expected, abs=1e-5)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    check_sums("train_final_sum", 1e-3)


def test_published_state_dict_loads_from_a_torch_file(shared, tmp_path, published):
    with np.load(shared / "golden/vsfa_gru_konvid.npz") as archive:
        state = {name: torch.from_numpy(archive[name]) for name in archive.files if name != "label_scale"}
    torch.save(state, tmp_path / "VSFA.pt")
    head, scale = published_head(tmp_path / "VSFA.pt")
    assert scale is None
    for name, value in published[0].state_dict().items():
        assert torch.equal(head.state_dict()[name], value)


@pytest.mark.parametrize(
    ("state", "message"),
    [({"rnn.weight_ih_l0": torch.zeros(3)}, "not a state dict of a VSFA head"), ([1, 2], "no plain state dict")],
)
def test_other_files_are_refused(tmp_path, state, message):
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=message):
        published_head(tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("no state")
    with pytest.raises(CheckpointError, match="cannot be read"):
        published_head(tmp_path / "text.pt")
