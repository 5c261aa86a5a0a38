"""The table of feature rows, against Table 2 of the paper and the published feature files."""

import csv

import numpy as np
import pytest

from tests.support.golden import EXTRACTS
from ugcvqa.errors import ConfigError
from ugcvqa.features.rows import DIMENSIONS, PAPER_ROWS, ROWS, assemble_row, dimension, families_of, families_of_rows


def vectors():
    """One vector per family whose values tell the family and the column."""
    return {
        family: 10_000 * number + np.arange(length, dtype=np.float64)
        for number, (family, length) in enumerate(DIMENSIONS.items())
    }


def test_dimensions_are_those_of_table_2():
    with (EXTRACTS / "table2.csv").open() as file:
        published = {line["row"]: int(line["dim"]) for line in csv.DictReader(file) if line["dim"]}
    assert {row: dimension(row) for row in PAPER_ROWS} == {row: published[row] for row in PAPER_ROWS}


@pytest.mark.parametrize("row", ROWS)
def test_assembled_row_has_its_dimension(row):
    assert assemble_row(row, vectors()).shape == (dimension(row),)


def test_rapique_puts_the_network_between_spatial_and_temporal_statistics():
    parts = vectors()
    row = assemble_row("NSS_CNN_SALIENCY", parts)
    np.testing.assert_array_equal(row[:1360], parts["nss"][:1360])
    np.testing.assert_array_equal(row[1360:3408], parts["cnn"])
    np.testing.assert_array_equal(row[3408:3884], parts["nss"][1360:])
    np.testing.assert_array_equal(row[3884:], parts["saliency"])


def test_published_quirk_is_another_row_than_the_proper_one():
    parts = vectors()
    quirk = assemble_row("NSS_VSFACNN_AS_PUBLISHED", parts)
    np.testing.assert_array_equal(quirk, assemble_row("NSS_VSFACNN_SALIENCY", parts))
    assert not np.array_equal(quirk, assemble_row("NSS_VSFACNN", parts))


def test_families_are_named_once():
    assert families_of("NSS_CNN") == ("nss", "cnn")
    assert families_of_rows(["all"]) == ("saliency", "nss", "cnn", "vsfacnn", "vsfacnn_saliency")
    assert families_of_rows(["CNN", "CNN_SALIENCY"]) == ("cnn", "saliency")


def test_unknown_and_missing_rows_are_errors():
    with pytest.raises(ConfigError, match="'nss' is unknown"):
        families_of("nss")
    with pytest.raises(ConfigError, match="no row given"):
        families_of_rows([])
