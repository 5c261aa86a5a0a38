"""Golden numbers, the SciPy reference and modules on a device for the tests of the NSS."""

import importlib.util

import pytest

from tests.support.golden import golden_arrays
from tests.support.nss import (
    nss,
)


@pytest.fixture(scope="module")
def golden():
    return golden_arrays("nss_public")


@pytest.fixture(scope="module")
def scipy_nss(request):
    path = request.config.rootpath / "tools" / "reference_nss.py"
    spec = importlib.util.spec_from_file_location("reference_nss", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def model_there(there, device):
    """The same on the device; compiled kernels are a CPU's."""

    def model(precision="float32", **settings):
        if device == "cuda" and precision == "compiled":
            pytest.skip("compiled kernels compute on a CPU")
        return there(nss(precision, **settings))

    return model
