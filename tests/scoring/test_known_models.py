"""Known answers of the models: the stored numbers against plain computations, and that a wrong number is noticed."""

import math

import numpy as np
import pytest
import torch
import torchvision
from sklearn.metrics.pairwise import rbf_kernel
from torch.nn import functional

from ugcvqa.deep.imagenet import normalise
from ugcvqa.errors import UgcvqaError
from ugcvqa.heads.gru import VSFAHead
from ugcvqa.media.imresize import imresize_to
from ugcvqa.scoring import known_models
from ugcvqa.scoring.known_models import fill, picks, picture, uniform


def test_svr_numbers_are_those_of_scikit_learns_kernel():
    head = known_models.svr_head()

    def scaled(x):
        return np.divide(x - head.minimum, head.span, out=np.zeros_like(x), where=head.span > 0)

    kernel = rbf_kernel(scaled(uniform(3, 4, seed=2)), scaled(head.support_vectors), gamma=head.gamma)
    np.testing.assert_allclose(known_models._SVR, kernel @ head.dual_coef + head.intercept, rtol=1e-8)
    assert "numbers within" in known_models.check_svr()


def test_gp_numbers_are_those_of_the_textbook():
    head = known_models.gp_head()
    features = np.abs(uniform(3, 5, seed=2))
    new = np.hstack([np.sqrt(part / part.sum(1, keepdims=True)) for part in np.split(features, [3], axis=1)])
    known = head.values.astype(np.float64)

    def covariance(one, other):
        total = np.full((len(one), len(other)), head.kernel.constant)
        for columns, unit, amplitude, mixture in ((slice(0, 3), 1.5, 0.7, 1.0), (slice(3, 5), 0.8, 0.4, 3.0)):
            distance = ((one[:, None, columns] - other[None, :, columns]) ** 2).sum(2) / unit
            total += amplitude * (1 + distance / (2 * mixture)) ** -mixture
        return total

    cross, own = covariance(new, known), covariance(known, known) + head.noise * np.eye(6)
    variance = head.kernel.variance + head.noise - np.diag(cross @ np.linalg.solve(own, cross.T))
    pred = cross @ head.coefficients * head.mos_deviation + head.mos_mean
    np.testing.assert_allclose(known_models._GP, [*pred, *np.sqrt(variance) * head.mos_deviation], rtol=1e-6)
    assert "numbers within" in known_models.check_gp()


def gru_scores(head, frames):
    """VSFA's head in plain NumPy, video by video."""
    state = {name: value.numpy().astype(float) for name, value in head.state_dict().items()}
    x = frames.numpy().astype(float) @ state["projection.weight"].T + state["projection.bias"]
    hidden, qualities = np.zeros(head.gru.hidden_size), []
    for row in x:
        gates = np.split(state["gru.weight_ih_l0"] @ row + state["gru.bias_ih_l0"], 3)
        memory = np.split(state["gru.weight_hh_l0"] @ hidden + state["gru.bias_hh_l0"], 3)
        reset, update = (1 / (1 + np.exp(-gates[k] - memory[k])) for k in (0, 1))
        hidden = (1 - update) * np.tanh(gates[2] + reset * memory[2]) + update * hidden
        qualities.append(float((state["quality.weight"] @ hidden + state["quality.bias"])[0]))
    q, pooled = np.array(qualities), []
    for t in range(len(q)):
        behind, ahead = q[max(0, t - head.tau + 1) : t + 1], q[t : t + head.tau]
        pooled.append(
            head.beta * (ahead * np.exp(-ahead)).sum() / np.exp(-ahead).sum() + (1 - head.beta) * behind.min()
        )
    return float(np.mean(pooled))


def test_gru_numbers_are_those_of_plain_numpy(device):
    head = fill(VSFAHead(input_dim=12, reduced_dim=6, hidden_dim=4, tau=3))
    frames = torch.from_numpy(uniform(9, 12, seed=2)).float()
    expected = [gru_scores(head, frames[:5]), gru_scores(head, frames[5:])]
    np.testing.assert_allclose(known_models._GRU, expected, rtol=1e-4)
    assert "numbers within" in known_models.check_gru(device)


@torch.no_grad()
def test_resnet_numbers_are_those_of_torchvisions_own_layers(device):
    network, frames = fill(torchvision.models.resnet50(weights=None)), picture(2, 3, 96, 128)

    def maps(x):
        x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
        return network.layer4(network.layer3(network.layer2(network.layer1(x)))).double()

    cnn = maps(normalise(imresize_to(frames, 224, 224))).mean((2, 3))
    full = maps(normalise(frames)).flatten(2)
    vsfa = torch.cat([full.mean(2), full.std(2)], 1)
    head = fill(VSFAHead(input_dim=4096, reduced_dim=8, hidden_dim=4))
    scores = [gru_scores(head, vsfa[index : index + 1].float()) for index in range(2)]
    for known, expected in (
        (known_models._CNN, picks(cnn)),
        (known_models._VSFA, picks(vsfa)),
        (known_models._END_TO_END, scores),
    ):
        np.testing.assert_allclose(known, expected, rtol=2e-4, atol=2e-4 * max(map(abs, expected)))
    assert "CNN, VSFACNN, end to end" in known_models.check_resnet(device)


@torch.no_grad()
def test_saliency_numbers_are_those_of_plain_score_cam(device):
    network = torchvision.models.vgg16(weights=None)
    network.classifier = torch.nn.Linear(25088, 10)
    fill(network)
    frame = normalise(picture(1, 3, 96, 128))
    activations = network.features[:30](frame)[0]
    winner = int(network(frame).argmax())
    total = torch.zeros(96, 128)
    for channel in activations.mean((1, 2)).argsort(descending=True)[:2]:
        up = functional.interpolate(activations[channel][None, None], (96, 128), mode="bilinear")[0, 0]
        mask = (up - up.min()) / (up.max() - up.min())
        total += network(frame * mask).softmax(1)[0, winner] * up
    total = total.clamp(min=0)
    expected = picks((total - total.min()) / (total.max() - total.min()))
    np.testing.assert_allclose(known_models._SALIENCY, expected, rtol=1e-3, atol=1e-3)
    assert "numbers within" in known_models.check_saliency(device)


@pytest.mark.parametrize(("check", "stored"), [("check_svr", "_SVR"), ("check_gp", "_GP"), ("check_gru", "_GRU")])
def test_a_wrong_number_is_noticed(monkeypatch, check, stored):
    for wrong in (1.01, math.nan):
        numbers = list(getattr(known_models, stored))
        monkeypatch.setattr(known_models, stored, (numbers[0] * wrong, *numbers[1:]))
        with pytest.raises(UgcvqaError, match="other numbers than it should"):
            getattr(known_models, check)()
