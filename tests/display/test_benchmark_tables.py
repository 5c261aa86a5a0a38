"""Tables: medians beside published figures, marks, footnotes, and the three forms that they are written in."""

import csv
import io
import math
import shutil
import subprocess

import numpy as np
import pytest

from ugcvqa.display.benchmark_tables import (
    RowCost,
    ablation_table,
    cost_table,
    interval_table,
    significance_table,
)
from ugcvqa.display.main_table import RowGroup, main_table
from ugcvqa.display.text_tables import Cell, Section, Table
from ugcvqa.evaluation.significance import compare_all, corrected_t_test, median_interval


def figures(srcc, **others):
    """A row's figures; those not given are those of a middling row."""
    values = {"srcc": srcc, "krcc": srcc, "plcc": srcc, "rmse": [0.5] * len(srcc)} | others
    return {name: np.array(value, dtype=float) for name, value in values.items()}


def records(table):
    return list(csv.DictReader(io.StringIO(table.csv())))


def line(table, row):
    """Cells of a row in the Markdown form."""
    (found,) = (text for text in table.markdown().splitlines() if text.startswith(f"| {row} |"))
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_medians_stand_beside_the_published_figures():
    srcc = [0.70, 0.71, 0.73]
    rows = {"NSS": figures(srcc), "CNN": figures([0.6, 0.6, 0.6])}
    table = main_table([RowGroup("youtube_ugc", rows, size=(831, 208))])
    assert line(table, "NSS")[1:4] == ["**0.7100 ± 0.0125**", "0.7103 ± 0.0361", "-0.0003"]
    record = records(table)[0]
    assert float(record["std"]) == np.std(srcc)
    assert float(record["difference"]) == 0.71 - 0.7103
    assert float(record["low"]) == median_interval(srcc, 831, 208).low


def test_tables_without_published_figures_do_not_mention_any():
    table = main_table([RowGroup("mine", {"NSS": figures([0.7, 0.8]), "OTHER": figures([0.6, 0.7])})])
    assert table.columns == ("row", "SRCC ↑", "KRCC ↑", "PLCC ↑", "RMSE ↓")
    assert records(table)[0]["published_median"] == ""


def test_best_and_second_are_marked_in_the_right_direction():
    rows = {
        "A": figures([0.7, 0.7], rmse=[0.3, 0.3]),
        "B": figures([0.8, 0.8], rmse=[0.4, 0.4]),
        "C": figures([0.6, 0.6], rmse=[0.5, 0.5]),
        "D": figures([0.80001, 0.80001], rmse=[math.nan, math.nan]),
    }
    table = main_table([RowGroup("mine", rows)])
    marked = {row: (line(table, row)[1][:2], line(table, row)[4][:2]) for row in rows}
    assert marked == {"A": ("*0", "**"), "B": ("**", "*0"), "C": ("0.", "0."), "D": ("**", "–")}
    marks = [record["mark"] for record in records(table) if record["metric"] == "rmse"]
    assert marks == ["best", "second", "", ""]


@pytest.mark.parametrize(
    "groups",
    [
        [RowGroup("mine", {"A": figures([0.7, 0.8])})],
        [RowGroup("mine", {"A": figures([0.7]), "B": figures([0.8])}, is_ranked=False)],
        [RowGroup("mine", {"A": figures([0.7])}), RowGroup("mine", {"A": figures([0.9])}, "all videos at once")],
    ],
    ids=["one row", "other videos", "one row of each kind"],
)
def test_rows_that_cannot_be_ranked_have_no_marks_in_any_form(groups):
    table = main_table(groups)
    assert "| *" not in table.markdown()
    assert "\\textbf{0" not in table.latex() + table.latex().replace("\\underline", "\\textbf")
    assert {record["mark"] for record in records(table)} == {""}


def test_a_figure_that_lacks_splits_is_not_ranked():
    rows = {"A": figures([0.9, math.nan]), "B": figures([0.8, 0.8]), "C": figures([0.7, 0.7])}
    assert [cells[1].mark for cells in main_table([RowGroup("mine", rows)]).sections[0].rows] == ["", "best", "second"]


def test_nan_splits_are_left_out_and_footnoted():
    rows = {"A": figures([0.5, math.nan, 0.7, 0.6]), "C": figures([math.nan] * 4)}
    table = main_table([RowGroup("mine", rows)])
    assert line(table, "A")[1].strip("*") == "0.6000 ± 0.0816"
    assert line(table, "C")[1] == "–"
    (note,) = (note for note in table.notes if note.startswith("mine, A: splits without a figure"))
    assert note.endswith("which are not ranked: SRCC 1, KRCC 1, PLCC 1")
    assert records(table)[0]["n_nan"] == "1"


def test_one_prediction_without_training_has_no_deviation():
    table = main_table([RowGroup("konvid_1k", {"UVQ": figures([0.7089])}, "all 1200 videos at once")])
    assert line(table, "UVQ")[1:4] == ["0.7089", "0.7089", "+0.0000"]
    assert table.sections[0].title == "KoNViD-1k, all 1200 videos at once"


def test_published_figures_stand_only_beside_rows_of_their_kind():
    rows = {"NSS": figures([0.7, 0.8]), "UVQ": figures([0.7, 0.7])}
    table = main_table([RowGroup("konvid_1k", rows, published=frozenset({"NSS"}))])
    assert [line(table, row)[2] for row in rows] == ["0.7747 ± 0.0242", "–"]


def test_sources_of_published_figures_are_named():
    rows = {"VIDEVAL": figures([0.78, 0.78]), "NSS_VSFACNN": figures([0.7, 0.7])}
    notes = " ".join(main_table([RowGroup("konvid_1k", rows)], notes=["own note"]).notes)
    assert "published by vztu/VIDEVAL README" in notes
    assert "hold the deep block of VSFACNN_SALIENCY" in notes
    assert notes.endswith("own note")


@pytest.fixture
def rows():
    random = np.random.default_rng(0)
    shared = random.normal(0.7, 0.03, 50)
    return {"FULL": shared, "NEAR": shared + random.normal(-0.001, 0.01, 50), "FAR": shared - 0.2 + shared / 100}


def test_significance_table_reads_row_minus_column(rows):
    table = significance_table(compare_all(rows, 80, 20), "srcc", "mine")
    far = line(table, "3 FAR")
    assert far[1].startswith("**-0.19")
    assert far[1].endswith("(<0.001)**")
    assert far[3] == "–"
    assert not line(table, "2 NEAR")[1].startswith("**")
    assert "for 3 comparisons" in table.notes[1]
    record = records(table)[0]
    expected = corrected_t_test(rows["FULL"], rows["NEAR"], 80, 20)
    assert (record["first"], record["second"]) == ("FULL", "NEAR")
    assert (float(record["p"]), float(record["low"])) == (expected.p, expected.difference.low)


def test_ablation_compares_with_the_full_row_only(rows):
    table = ablation_table(rows, "FULL", "srcc", 80, 20, "mine")
    assert line(table, "FULL")[2:] == ["–", "–", "–"]
    assert line(table, "FAR")[4] == "**<0.001**"
    assert {record["n_comparisons"] for record in records(table)} == {"2"}
    expected = corrected_t_test(rows["NEAR"], rows["FULL"], 80, 20)
    assert float(records(table)[1]["difference_centre"]) == expected.difference.centre


def test_interval_table(rows):
    table = interval_table(rows, "srcc", 80, 20)
    interval = median_interval(rows["NEAR"], 80, 20)
    assert line(table, "NEAR")[1:3] == [f"{interval.centre:.4f}", f"{interval.low:.4f} to {interval.high:.4f}"]
    assert len(records(table)) == 6


def test_cost_table_has_the_papers_seconds_and_gaps():
    table = cost_table(
        {"NSS": RowCost(1836, 1.23456, 2.0), "MINE": RowCost(7, fit_s=120.0, predict_s=0.00021)}, ["CPU"]
    )
    assert line(table, "NSS") == ["NSS", "1836", "1.235", "2.000", "103.31", "–", "15.68", "–"]
    assert line(table, "MINE") == ["MINE", "7", "–", "–", "–", "120.00", "–", "0.000210"]
    assert float(records(table)[0]["extract_s"]) == 1.23456
    assert table.notes == ("CPU",)


@pytest.fixture
def odd():
    names = (Cell("A_B & 50% {x} #1 $2 ~^ \\", "best"), Cell("-0.5 ± 1|2 <b>", "second"))
    return Table(
        "_cap_", ("row", "value ↓"), (Section("[s]", (names,)),), ("1 < 2",), ({"row": 'a,"b', "v": math.nan},)
    )


def test_markdown_escapes_markup(odd):
    text = odd.markdown()
    assert "| **A_B & 50% {x} #1 $2 ~^ \\\\** | *-0.5 ± 1\\|2 \\<b>* |" in text
    assert "**\\_cap\\_**" in text
    assert "### \\[s\\]" in text


def test_latex_escapes_commands(odd):
    text = odd.latex()
    assert r"\textbf{A\_B \& 50\% \{x\} \#1 \$2 \textasciitilde{}\textasciicircum{} \textbackslash{}}" in text
    assert r"\underline{$-$0.5 $\pm$ 1|2 \textless{}b\textgreater{}}" in text
    assert r"row & value $\downarrow$ \\" in text
    for part in ("\\toprule", "\\midrule", "\\bottomrule"):
        assert part in text
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


def test_csv_quotes_and_leaves_nan_empty(odd):
    assert odd.csv() == 'row,v\n"a,""b",\n'


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
@pytest.mark.parametrize("label", ["", "tab:main"], ids=["compare", "paper"])
def test_a_document_that_inputs_the_table_compiles(tmp_path, label):
    rows = {
        "NSS_VSFACNN_SALIENCY": figures([0.7, 0.71]),
        "mine_50%&#$~^\\": figures([0.6, math.nan]),
        "CNN": figures([0.5, 0.5]),
    }
    groups = [RowGroup("youtube_ugc", rows), RowGroup("konvid_1k", rows)]
    table = main_table(groups, ["a < b_c, 90 %"], has_published=not label)
    (tmp_path / "table.tex").write_text(table.latex(label))
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\n\\usepackage{booktabs}\n\\usepackage{graphicx}\n\\begin{document}\n"
        f"\\input{{table}}\nSee \\ref{{{label}}}.\n\\end{{document}}\n"
    )
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
    for _ in range(2):  # references are known in the second run
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
        assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    if label:
        assert "undefined references" not in done.stdout
        assert "% a < b_c, 90 %" in table.latex(label).partition("\\begin{table}")[0]
        assert "deviation over 2 splits. Best in bold" in table.latex(label)
        assert "0.7103" not in table.latex(label)
