"""Names in CSV files, tables and pages: harmless where they are opened, and the same when they are read back."""

import csv
import random

import numpy as np
import pytest

from ugcvqa.cell_texts import cell_of, csv_text, text_of
from ugcvqa.datasets.tables import FeatureTable, read_table, write_table
from ugcvqa.display.lines import failure_rows, read_failures
from ugcvqa.display.text_tables import Cell, Section, Table

FORMULAS = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "＝1+1", "'=1", "''@a", "=cmd|' /C calc'!A0", "-"]
PLAIN = [
    "a b.mp4",
    "folder/clip.mp4",
    "C:\\videos\\x.mp4",
    "it's",
    "'quoted'",
    "ü, é",
    "",
    "-1.5",
    "1e-3",
    "nan",
    "x=1",
]
STEERING = [
    "\x1b[31mred",
    "a\nb",
    "a\r\nb",
    "bell\x07",
    "nul\0",
    "\x9b1m",
    "\u202egnp.exe",
    r"\x1b",
    r"\\x1b",
    r"\u202e",
]


@pytest.mark.parametrize("text", [*FORMULAS, *PLAIN, *STEERING])
def test_a_cell_is_harmless_and_gives_its_text_back(text):
    cell = cell_of(text)
    assert text_of(cell) == text
    assert all(char.isprintable() for char in cell)
    assert cell[:1] not in "=+@＝" or not cell
    assert not cell.startswith("-") or float(cell) < 0
    if text in PLAIN:
        assert cell == text


def test_a_folder_behind_a_backslash_is_no_escape():
    assert text_of(r"videos\x64\clip.mp4") == r"videos\x64\clip.mp4"


def test_any_text_comes_back():
    source = random.Random(0)
    for _ in range(20_000):
        text = "".join(source.choices("='+-@\\xu01b5c2e\t\n\x1b\u202ea", k=source.randint(0, 12)))
        assert text_of(cell_of(text)) == text


def test_rows_of_a_csv_file_have_all_digits_and_no_nan():
    rows = [("name", "value"), ("=a\n", 1 / 3), ("b,c", float("nan")), ("d", True), ("e", -2)]
    assert csv_text(rows) == 'name,value\n\'=a\\x0a,0.3333333333333333\n"b,c",\nd,1\ne,-2\n'
    assert csv_text([]) == ""


def test_failures_and_tables_keep_their_names(tmp_path):
    names = [*FORMULAS, *STEERING]
    (tmp_path / "f.csv").write_bytes(failure_rows({name: f"{name}: damaged" for name in names}))
    assert read_failures(tmp_path / "f.csv") == {name: f"{name}: damaged" for name in names}
    assert b"\x1b" not in (tmp_path / "f.csv").read_bytes()
    ids = tuple(f"mine/{name.strip()}" for name in STEERING[:7])
    write_table(tmp_path / "t.csv", FeatureTable(ids, np.ones((len(ids), 2))))
    assert read_table(tmp_path / "t.csv").ids == ids


def test_tables_show_what_a_name_holds():
    name = "=1\x1b[31m\u202e"
    table = Table(name, (name, "b"), (Section(name, ((Cell(name), Cell("1")),)),), (name,), ({"row": name, "x": -1.5},))
    for text in (table.markdown(), table.latex(), table.csv()):
        assert "\x1b" not in text
        assert "\u202e" not in text
    (_, row) = csv.reader(table.csv().splitlines())
    assert row[0].startswith("'=1")
    assert row[1] == "-1.5"
