"""What the tests of outputs share."""

import pytest

from ugcvqa import score


@pytest.fixture
def alone(monkeypatch):
    """No sign of SLURM or torchrun around the tests, and none of the stub after them."""
    monkeypatch.setattr(score, "_scorer", score._scorer)
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_ID", "OMPI_COMM_WORLD_RANK"):
        monkeypatch.delenv(name, raising=False)
