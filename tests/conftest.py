"""Fixtures shared by all tests."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: test processes share the cores

import pytest

from tests.support.golden import shared_folder
from tests.support.made_up_data import made_up


@pytest.fixture(scope="session")
def shared():
    """The folder of reference data (golden outputs, published features, clips); absent on a user's machine."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("the whole reference data is not here (set UGCVQA_SHARED)")
    return folder


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """Where golden numbers are met; a GPU's are float32 by IEEE too."""
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("this machine shows no CUDA device")
    return request.param


@pytest.fixture
def there(device):
    """Moves networks and tensors to the device, where float32 means IEEE's; networks come back."""
    from torch import nn

    from ugcvqa.devices import float32_products

    moved = []

    def move(thing):
        if isinstance(thing, nn.Module):
            moved.append(thing)
        return thing.to(device)

    with float32_products():
        yield move
    for network in moved:
        network.cpu()


@pytest.fixture(scope="session", params=["torch", "openvino"])
def engine(request):
    """Each library that computes networks, where it is installed."""
    if request.param == "openvino":
        pytest.importorskip("openvino", reason="needs the extra `cpu`")
    return request.param


@pytest.fixture
def mine(tmp_path):
    made_up(tmp_path)
    return tmp_path


@pytest.fixture
def without_figures(monkeypatch):
    """Leaves out the pictures, which take longer than everything else here."""
    monkeypatch.setattr("ugcvqa.benchmarks.report.write_figures", lambda *_: {})
