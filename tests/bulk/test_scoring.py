"""Outputs of `score`: the same bytes however often a run is killed, and however the work is shared out."""

import math
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.support.outputs import FORMATS, NAMES, REPO, STUB, listed, run, size, started, table
from tests.support.stub_scorer import StubScorer, main
from ugcvqa.progress import progress_bar

pytestmark = pytest.mark.usefixtures("alone")


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_has_every_name_and_number_in_order(tmp_path, ending):
    assert run(tmp_path, output=f"out.{ending}") == 1
    rows = table(tmp_path / f"out.{ending}")
    assert [row["video"] for row in rows] == NAMES
    for row, item in zip(rows, StubScorer().score_many(NAMES), strict=True):
        assert (row["error"] or "").replace("\\xff", "\udcff") == item.reason
        for column, expected in {"mos": item.mos, "std": item.std, "low": math.nan}.items():
            assert row[column] is None if math.isnan(expected) else float(row[column]) == expected
        parts = row.get("parts", {}) if ending == "jsonl" else row
        assert (float(parts["sharpness"]) if parts.get("sharpness") else None) == item.parts.get("sharpness")
        warnings = "; ".join(row["warnings"]) if ending == "jsonl" else row["warnings"] or ""
        assert warnings == "; ".join(item.warnings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.txt", f"out.{ending}", f"out.{ending}.run.json"]


@pytest.mark.parametrize("ending", FORMATS)
def test_same_bytes_whatever_the_workers_and_printed_as_written(tmp_path, ending, capfdbinary):
    for workers in (0, 1, 3):
        (tmp_path / str(workers)).mkdir()
        assert run(tmp_path / str(workers), output=f"out.{ending}", workers=workers) == 1
    written = [(tmp_path / str(workers) / f"out.{ending}").read_bytes() for workers in (0, 1, 3)]
    assert written[0] == written[1] == written[2]
    if ending != "parquet":
        capfdbinary.readouterr()
        assert main([*listed(tmp_path), "--csv" if ending == "csv" else "--json"]) == 1
        assert capfdbinary.readouterr().out == written[0]


@pytest.mark.parametrize("ending", FORMATS)
def test_a_file_cut_anywhere_is_continued_to_the_same_bytes(tmp_path, ending):
    output = tmp_path / f"out.{ending}"
    if ending == "parquet":
        from ugcvqa.bulk.parquet import ParquetJournal

        rows = tmp_path / "out.parquet.rows.jsonl"
        complete, ParquetJournal.complete = ParquetJournal.complete, lambda *_: None
        try:
            assert run(tmp_path, output=output.name) == 1
        finally:
            ParquetJournal.complete = complete
    else:
        rows = output
        assert run(tmp_path, output=output.name) == 1
    whole = rows.read_bytes()
    assert run(tmp_path, output=output.name) == 1
    finished = output.read_bytes()
    draw = random.Random(0)
    for length in [0, 1, len(whole) - 1, *(draw.randrange(len(whole)) for _ in range(12))]:
        output.unlink()
        rows.write_bytes(whole[:length] + b"\0" * draw.choice([0, 0, 5000]))
        assert run(tmp_path, output=output.name) == 1
        assert output.read_bytes() == finished, length


def test_ten_kills_give_the_file_of_an_undisturbed_run(tmp_path):
    names = [*NAMES, *(f"more{number}.mp4" for number in range(300))]
    assert run(tmp_path, names=names, output="undisturbed.csv") == 1
    output, draw, lengths = tmp_path / "out.csv", random.Random(1), [0]
    arguments = [*listed(tmp_path, names), "--output", str(output), "--workers", "0"]
    for _ in range(10):
        job, target = started(arguments, delay_s=0.004), lengths[-1] + draw.randrange(1, 2000)
        while size(output) < target:
            assert job.is_alive()
            time.sleep(0.002)
        job.kill()
        job.join()
        assert job.exitcode == -signal.SIGKILL
        lengths.append(size(output))
    assert lengths == sorted(lengths)
    assert main(arguments) == 1
    assert output.read_bytes() == (tmp_path / "undisturbed.csv").read_bytes()
    assert not list(tmp_path.glob("*.lock"))


def test_a_finished_run_does_nothing_and_a_longer_list_goes_on(tmp_path, capsys):
    assert run(tmp_path, names=NAMES[:9]) == 1
    before = (tmp_path / "out.csv").read_bytes()
    assert run(tmp_path, names=NAMES[:9]) == 1
    assert (tmp_path / "out.csv").read_bytes() == before
    assert capsys.readouterr().out.splitlines()[-1].startswith("8 of 9 videos have a score, 1 failed")
    assert run(tmp_path) == 1
    assert run(tmp_path, output="fresh.csv") == 1
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "fresh.csv").read_bytes()


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fingerprint": "1" * 64}, "rows of another run (model model_sha256"),
        ({"part_names": ("other",)}, "rows of another run (parts"),
        ({"more": ["--limits.max_frames", "9"]}, "rows of another run (settings limits"),
        ({"more": ["--frames", "pictures"]}, "rows of another run (settings explain"),
        ({"names": NAMES[1:]}, "row 1 is of a b.mp4"),
        ({"names": NAMES[:3]}, "has more rows than videos are given"),
        ({"more": ["--shard", "1/1"], "names": []}, "names no video"),
    ],
)
def test_rows_of_different_runs_are_never_mixed(tmp_path, capsys, ending, change, message):
    assert run(tmp_path, output=f"out.{ending}") == 1
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.name != "list.txt"}
    options = {name: value for name, value in change.items() if name != "more"}
    assert run(tmp_path, *change.get("more", []), output=f"out.{ending}", **options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir() if path.name != "list.txt"}


def test_foreign_and_damaged_files_are_left_alone(tmp_path, capsys):
    (tmp_path / "out.csv").write_text("precious\n")
    assert run(tmp_path) == 2
    assert "was not written by `ugcvqa score`" in capsys.readouterr().err
    assert (tmp_path / "out.csv").read_text() == "precious\n"
    assert run(tmp_path, output="b.csv") == 1
    data = (tmp_path / "b.csv").read_text(encoding="utf-8", errors="surrogateescape").replace("a b.mp4,", "a b.mp4,,,")
    (tmp_path / "b.csv").write_text(data, encoding="utf-8", errors="surrogateescape")
    assert run(tmp_path, output="b.csv") == 2
    assert "line 2: is not a row of this run" in capsys.readouterr().err


def test_the_second_of_two_jobs_says_so_and_the_lock_dies_with_its_process(tmp_path, capsys):
    output = tmp_path / "out.csv"
    first = started([*listed(tmp_path), "--output", str(output), "--workers", "0"], delay_s=0.5)
    while not size(output):
        time.sleep(0.01)
    assert run(tmp_path) == 2
    assert capsys.readouterr().err.startswith(f"ugcvqa score: error: {output}: is in use by process {first.pid}")
    first.kill()
    first.join()
    assert run(tmp_path) == 1
    assert [row["video"] for row in table(output)] == NAMES


@pytest.mark.parametrize("limit", [10, 1500])
def test_a_full_disk_is_one_line_and_keeps_whole_rows(tmp_path, limit):
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        f"sys.path.insert(0, {str(REPO)!r}); sys.dont_write_bytecode = True\n"
        "from tests.support.stub_scorer import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = [*listed(tmp_path), "--output", str(tmp_path / "out.csv"), "--workers", "0"]
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 2, result.stderr
    assert "cannot be" in result.stderr
    assert result.stderr.count("\n") == 1
    kept = (tmp_path / "out.csv").read_bytes() if (tmp_path / "out.csv").exists() else b""
    assert run(tmp_path) == 1
    assert (tmp_path / "out.csv").read_bytes().startswith(kept)
    assert kept.endswith(b"\n") or not kept


@pytest.mark.parametrize("workers", ["0", "1"])
def test_an_interrupt_while_a_pipe_is_still_open_ends_in_one_line(tmp_path, workers):
    output = tmp_path / "out.csv"
    process = subprocess.Popen(
        [sys.executable, str(STUB), "0", "-", "--output", str(output), "--workers", workers],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    process.stdin.write(b"a.mp4\n")
    process.stdin.flush()
    while b"a.mp4" not in (output.read_bytes() if output.exists() else b""):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert process.stderr.read() == b"ugcvqa score: interrupted; the same command continues where it stopped\n"


def test_an_output_that_cannot_be_made_is_one_line_before_any_work(tmp_path, capsys):
    (tmp_path / "file").touch()
    for output, message in (
        (tmp_path / "file" / "out.csv", "cannot be locked"),
        (tmp_path / "out.xlsx", "must end in .csv, .jsonl, .parquet"),
        (tmp_path / "out", "must end in .csv, .jsonl, .parquet"),
    ):
        assert main([*listed(tmp_path), "--output", str(output)]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert run(tmp_path, output="folder/new.csv", workers=2, starts=False) == 2
    assert "the stub has no weights" in capsys.readouterr().err
    assert not list((tmp_path / "folder").iterdir())


def test_names_that_a_spreadsheet_or_terminal_obeys_are_harmless_and_join(tmp_path):
    names = ["=1+cmd|'/C calc'!A0.mp4", "\x1b[31mred\x07.mp4", "'=quoted.mp4", r"back\x1b.mp4", "\ttab.mp4", "@at.mp4"]
    assert run(tmp_path, names=names) == 0
    whole = (tmp_path / "out.csv").read_bytes()
    assert not any(char in whole for char in b"\x1b\x07\t")
    assert [row["video"] for row in table(tmp_path / "out.csv")] == names
    (tmp_path / "out.csv").write_bytes(whole[: whole.index(b"back")])  # killed
    assert run(tmp_path, names=names) == 0
    assert (tmp_path / "out.csv").read_bytes() == whole
    for number in (1, 2):
        assert run(tmp_path, "--shard", f"{number}/2", names=names, output="parts.csv") == 0
    assert main(["--merge", str(tmp_path / "parts.csv")]) == 0
    assert (tmp_path / "parts.csv").read_bytes() == whole


def test_exit_codes_tell_all_some_and_none(tmp_path):
    assert run(tmp_path, names=["a.mp4"], output="all.csv") == 0
    assert run(tmp_path, names=["a.mp4", "fail.mp4"], output="some.csv") == 1
    assert run(tmp_path, names=["fail.mp4"], output="none.csv") == 2
    assert run(tmp_path, names=[], output="empty.csv") == 2
    assert not (tmp_path / "empty.csv").exists()


def test_progress_is_silent_off_a_terminal_and_counts_the_rest(tmp_path, capsys):
    assert run(tmp_path) == 1
    assert capsys.readouterr().err == ""
    with progress_bar(10, "video", "score", True, 4) as bar:
        assert (bar.n, bar.initial, bar.total) == (4, 4, 10)
