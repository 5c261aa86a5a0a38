"""A moving scene, whole and as coded luma."""

from fractions import Fraction

import numpy as np
import pytest

from ugcvqa.demo.scene import Scene
from ugcvqa.demo.scenes import render_scene


@pytest.fixture(scope="package")
def scene():
    """(24, 180, 320, 3) RGB of a moving scene."""
    return render_scene(Scene("city", 3, 320, 180, Fraction(24), 24))


@pytest.fixture(scope="package")
def luma(scene):
    return luma_of(scene)


def luma_of(frames):
    """Limited-range luma, as coded."""
    return np.rint(16 + 219 / 255 * (frames @ np.array([0.299, 0.587, 0.114]))).astype(np.uint8)
