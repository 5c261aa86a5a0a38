"""Fixtures shared by all tests."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: test processes share the cores

import pytest

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared():
    """The folder of reference data (golden outputs, published features, clips); absent on a user's machine."""
    folder = Path(os.environ.get("UGCVQA_SHARED", REPO.parent / "shared"))
    if not (folder / "golden").is_dir():
        pytest.skip(f"reference data not found in {folder} (set UGCVQA_SHARED)")
    return folder


@pytest.fixture(scope="session", params=["torch", "openvino"])
def engine(request):
    """Each library that computes networks, where it is installed."""
    if request.param == "openvino":
        pytest.importorskip("openvino", reason="needs the extra `cpu`")
    return request.param
