"""The parts of a row: which columns share a scaling and a distance."""

import numpy as np
import pytest

from ugcvqa.errors import LabelError
from ugcvqa.features.rows import ROWS, dimension
from ugcvqa.heads.parts import GPPart, gp_parts


@pytest.mark.parametrize("row", ROWS)
def test_parts_of_a_row_cover_its_columns_once(row):
    parts = gp_parts(row, dimension(row))
    covered = np.concatenate([np.arange(part.start, part.stop) for part in parts])
    unused = {"NSS_PIXELS": [1836]}.get(row, [])  # the rate, which motion counts
    np.testing.assert_array_equal(np.sort(covered), np.delete(np.arange(dimension(row)), unused))


def test_parts_follow_the_layout_of_their_row():
    parts = {part.name: (part.start, part.stop) for part in gp_parts("NSS_CNN_CONTAINER", 3887)}
    assert parts["nss/mean"] == (0, 680)
    assert parts["nss/difference"] == (680, 1360)
    assert parts["cnn"] == (1360, 3408)
    assert parts["nss/temporal"] == (3408, 3884)
    assert parts["container/rate"] == (3886, 3887)
    finer = {part.name: (part.start, part.stop) for part in gp_parts("NSS_PIXELS", 1838)}
    assert len(finer) == 11
    assert finer["nss/detail"] == (2 * 68, 4 * 68)  # LOG and DOG, two scales each
    assert finer["nss/fast"] == (1360 + 3 * 68, 1836)
    other = {part.name: (part.start, part.stop) for part in gp_parts("VSFACNN", 1024)}
    assert other == {"vsfacnn/mean": (0, 512), "vsfacnn/deviation": (512, 1024)}
    assert gp_parts("MINE", 7) == (GPPart("features", 0, 7, "rank"),)
    for row, columns in (("NSS", 20), ("NSS_CNN", 1836), ("CNN_SALIENCY", 100)):
        with pytest.raises(LabelError, match=row):
            gp_parts(row, columns)
