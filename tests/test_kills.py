"""Every verb is killed at work; its children end with it, and the rerun leaves the result of an unbroken run, alone."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from tests.support.fitting import END_TO_END, GRU, make_sequences
from tests.test_benchmark import arguments as benchmark_arguments
from tests.test_benchmark import made_up
from tests.test_leftovers import ended, needs_proc
from tests.test_study import QUICK, moving
from ugcvqa.errors import StoreError, UgcvqaError
from ugcvqa.media.encode import write_video
from ugcvqa.processes import error_of_process, loader_errors

pytestmark = needs_proc
N_VIDEOS = 14  # as many as a training needs, and one
END_S = 20.0  # a process that is killed at once ends in milliseconds, on an idle machine
OWN = ("--data.name", "own", "--data.root", "videos", "--data.labels", "labels.csv")
TINY = ("--families.deep.backbone", "squeezenet1_1", "--families.deep.weights", "random:0")
MAPS = ("--families.saliency.backbone", "squeezenet1_1", "--families.saliency.weights", "random:0")
MAPS += ("--families.saliency.layer", "features.12", "--families.saliency.method", "top:2")
ON_CPU = ("--trainer.accelerator", "cpu", "--trainer.devices", "1")


@dataclass(frozen=True)
class Case:
    """A command, and when it is killed.

    Attributes:
        arguments: verb and options.
        outputs: folders and files that it makes; what differs from run to run in them is not in `same`.
        moment: pattern of the files of which the first starts the kill; empty for the first child process.
        same: patterns of files that are byte for byte the same.
        is_elsewhere: `$TMPDIR` lies on another file system.
    """

    arguments: tuple[str, ...]
    outputs: tuple[str, ...]
    moment: str
    same: tuple[str, ...]
    is_elsewhere: bool = False


EXTRACT = ("extract", *OWN)
FIT = ("fit", *OWN)
FITTED = ("runs/*/model.safetensors", "runs/*/predictions.csv")
FRAMES = ("--data.name", "own", "--data.labels", "labels.csv", "--data.features", "[frames.npz]")
BENCHMARK = ("benchmark", *benchmark_arguments(Path(), splits=6), "--jobs", "2")
RECURRENT = ("fit", *FRAMES, *GRU)
LAST = "runs/*/checkpoints/last.ckpt"
STORED = ("store/**/*.safetensors",)
WORKERS = (*ON_CPU, "--loader.workers", "2")
CASES = {
    "extract between its forks": Case(EXTRACT, ("store",), "", STORED),
    "extract": Case(EXTRACT, ("store",), "store/**/*.safetensors", STORED),
    "extract with loaders": Case((*EXTRACT, *WORKERS), ("store",), "store/**/*.safetensors", STORED),
    "fit, as it extracts": Case(FIT, ("store", "runs"), "store/**/*.safetensors", (*STORED, *FITTED)),
    "fit, as it fits": Case(FIT, ("store", "runs"), "runs/*", (*STORED, *FITTED)),
    "fit of a process, as it fits": Case((*FIT, "--head", "gp"), ("store", "runs"), "runs/*", (*STORED, *FITTED)),
    "fit of a network": Case(RECURRENT, ("runs",), LAST, FITTED),
    "fit of a network, $TMPDIR elsewhere": Case(RECURRENT, ("runs",), LAST, FITTED, True),
    "fit of a network with loaders": Case((*RECURRENT, "--loader.workers", "2"), ("runs",), LAST, FITTED),
    "fit end to end": Case((*FIT, *END_TO_END), ("store", "runs"), LAST, FITTED),
    "fit end to end, as it extracts": Case((*FIT, *END_TO_END), ("store", "runs"), STORED[0], FITTED),
    "fit end to end with loaders": Case(
        (*FIT, *END_TO_END, "--loader.workers", "2"), ("store", "runs"), LAST, FITTED, True
    ),
    "score": Case(
        ("score", "videos", "--output", "out/scores.csv", "--workers", "2"), ("out",), "out/*.csv", ("out/*.csv",)
    ),
    "benchmark": Case(BENCHMARK, ("out",), "out/**/*.safetensors", ("out/mine/splits.json", "out/mine/table.md")),
    "benchmark, as it starts": Case(BENCHMARK, ("out",), "", ("out/mine/splits.json", "out/mine/table.md")),
    "study": Case(
        ("study", "videos", *QUICK, "--frames", "1", "--out", "out", *TINY, *MAPS, *ON_CPU),
        ("store", "out"),
        "out/**/*.safetensors",
        ("out/tables/*.csv",),
    ),
}
AT_ONCE = {("fit of a network", "parent")}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with videos, labels and features."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "videos").mkdir()
    for number in range(N_VIDEOS):
        write_video(folder / "videos" / f"v{number:02d}.mp4", moving(number, 12), 4)
    made_up(folder, n_videos=60)
    make_sequences(folder, [f"v{number:02d}" for number in range(N_VIDEOS)])
    return folder


@pytest.fixture(scope="module")
def unbroken(inputs, tmp_path_factory):
    """Folder of the unbroken run of a command, made when it is first asked for."""
    made = {}

    def of(case):
        if case.arguments not in made:
            folder = made[case.arguments] = workplace(tmp_path_factory.mktemp("unbroken"), inputs)
            finish(case, folder)
        return made[case.arguments]

    return of


@pytest.fixture
def elsewhere():
    """A folder in memory, on another file system than those on disk."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield folder


def workplace(folder, inputs):
    """A folder to work in: inputs by links, and a $TMPDIR of its own."""
    for path in inputs.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "tmp").mkdir()
    return folder


def start(case, folder):
    """Starts a command in a folder, as a group of its own."""
    command = [sys.executable, "-m", f"ugcvqa.{case.arguments[0]}", *case.arguments[1:]]
    environment = {**os.environ, "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"}
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, **streams)


def finish(case, folder):
    """Runs a command to its end; the numbers of its processes."""
    process = start(case, folder)
    _, errors = process.communicate()
    assert process.returncode == 0, errors[-2000:]
    return process.pid


def descendants(number):
    """Numbers of all processes below one."""
    found = []
    for task in Path(f"/proc/{number}/task").glob("*/children"):
        try:
            children = [int(word) for word in task.read_text().split()]
        except OSError:
            children = []
        found += [*children, *(below for child in children for below in descendants(child))]
    return found


def workers(number):
    """Processes below one that run Python too, which leaves out what libraries ask the system, but track nothing."""
    found = []
    for one in descendants(number):
        with contextlib.suppress(OSError):
            is_python = Path(f"/proc/{one}/exe").readlink() == Path(f"/proc/{number}/exe").readlink()
            if is_python and b"tracker" not in Path(f"/proc/{one}/cmdline").read_bytes():
                found.append(one)
    return found


def kill(case, folder, group):
    """Kills a command at its moment, alone or with its group; numbers of all its processes."""
    process = start(case, folder)
    has_come = lambda: next(folder.glob(case.moment), None) if case.moment else workers(process.pid)  # noqa: E731
    while not has_come() and process.poll() is None:
        time.sleep(0.002)
    assert process.poll() is None, process.stderr.read()[-2000:]
    below = descendants(process.pid)
    (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
    process.stderr.close()
    process.wait()
    assert ended(below, END_S), [Path(f"/proc/{number}/cmdline").read_bytes() for number in below]
    return [process.pid, *below]


def names(case, folder):
    """Names of all that a command made."""
    paths = [path for output in case.outputs for path in (folder / output).rglob("*")]
    return {str(path.relative_to(folder)).replace(str(folder), "") for path in paths}


def shared_of(numbers):
    """Names in shared memory that carry the number of one of some processes."""
    words = {word for number in numbers for word in (f"-{number}-", f"_{number}_", f"-{number:x}-")}
    return [path.name for path in Path("/dev/shm").iterdir() if any(word in path.name for word in words)]


def assert_same(case, folder, whole):
    """Compares the results of a broken and an unbroken run."""
    for pattern in case.same:
        expected = {path.relative_to(whole): path.read_bytes() for path in whole.glob(pattern)}
        assert expected
        assert {path.relative_to(folder): path.read_bytes() for path in folder.glob(pattern)} == expected


@pytest.mark.parametrize(
    ("name", "whom"),
    [
        pytest.param(name, whom, marks=() if (name, whom) in AT_ONCE else pytest.mark.slow)
        for name in CASES
        for whom in ("parent", "group")
    ],
)
def test_a_killed_verb_leaves_nothing_but_its_result(inputs, unbroken, elsewhere, tmp_path, name, whom):
    case = CASES[name]
    whole, folder = unbroken(case), workplace(tmp_path, inputs)
    if case.is_elsewhere:
        (folder / "tmp").rmdir()
        (folder / "tmp").symlink_to(elsewhere)
    numbers = kill(case, folder, whom == "group")
    numbers.append(finish(case, folder))
    logs = {found for found in names(case, folder) | names(case, whole) if "/logs" in found}
    assert names(case, folder) - logs == names(case, whole) - logs
    assert_same(case, folder, whole)
    assert not list((folder / "tmp").iterdir())
    assert not shared_of(numbers)


def test_watching_loaders_end_with_their_parent(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(
        "import os\nfrom torch.utils.data import DataLoader\nfrom ugcvqa.processes import watch_parent\n"
        "class Slow:\n    def __len__(self): return 2\n"
        "    def __getitem__(self, row):\n        print(os.getpid(), flush=True)\n        while True: pass\n"
        "next(iter(DataLoader(Slow(), num_workers=2, worker_init_fn=watch_parent)))\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    try:
        children = [int(parent.stdout.readline()) for _ in range(2)]
    finally:
        parent.kill()
        parent.wait()
    assert ended(children, END_S)


class Failing:
    """A data set whose rows cannot be read."""

    def __init__(self, how):
        self.how = how

    def __len__(self):
        return 1

    def __getitem__(self, row):
        if isinstance(self.how, int):
            os.kill(os.getpid(), self.how)
        raise self.how


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        (signal.SIGKILL, UgcvqaError, "^a loading process ended early.*run the same command again"),
        (signal.SIGSEGV, UgcvqaError, "^a loading process ended early"),
        (StoreError("a.bin: cannot be read; delete it"), StoreError, "^a.bin: cannot be read; delete it$"),
        (EOFError("of a file"), EOFError, "of a file"),
        (ConnectionResetError("of a network disk"), ConnectionResetError, "of a network disk"),
        (RuntimeError("a bug"), RuntimeError, "a bug"),
    ],
)
def test_only_a_killed_loader_is_a_lost_process(how, kind, words):
    with pytest.raises(kind, match=words) as caught, loader_errors():
        list(DataLoader(Failing(how), num_workers=1))
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ("RuntimeError: DataLoader worker (pid 7) is killed by signal: Killed. ", "loading process ended early"),
        ('  File "/lib/multiprocessing/connection.py", line 3, in recv\nEOFError', "loading process ended early"),
        ("ugcvqa.errors.VideoError: a.mp4: is damaged: here", "^a.mp4: is damaged: here$"),
        ("OSError: [Errno 28] No space left on device", "No space left"),
        ('  File "/lib/file.py", line 3, in read\nEOFError: ends', None),
        ("RuntimeError: a bug", None),
    ],
)
def test_the_error_of_another_process_is_read_from_its_traceback(last, words):
    error = error_of_process(f'Traceback (most recent call last):\n  File "/lib/a.py", line 1, in f\n{last}\n')
    assert re.search(words, str(error)) if words else error is None


@dataclass(frozen=True)
class Loss:
    """A command of which one process is killed alone, and what it says then; empty if it goes on without that one."""

    case: Case
    line: str


ON_TWO = ("--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp_fork")
LOADER = "a loading process ended early.*run the same command again"
LOSSES = {
    "extract": Loss(CASES["extract with loaders"], LOADER),
    "extract, two ranks": Loss(
        replace(CASES["extract"], arguments=(*EXTRACT, *ON_TWO, "--loader.workers", "1")),
        f"{LOADER}|a process was killed",
    ),
    "a rank of extract": Loss(replace(CASES["extract"], arguments=(*EXTRACT, *ON_TWO)), "a process was killed"),
    "fit end to end": Loss(CASES["fit end to end with loaders"], LOADER),
    "score": Loss(CASES["score"], ""),
    "benchmark": Loss(CASES["benchmark"], "a worker process died.*run the same command"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_a_lost_process_is_one_line_or_one_row_and_the_command_goes_on(inputs, unbroken, tmp_path, name):
    case, line = LOSSES[name].case, LOSSES[name].line
    folder = workplace(tmp_path, inputs)
    process = start(case, folder)
    while process.poll() is None and not list(folder.glob(case.moment)):
        time.sleep(0.002)
    deepest = [below for below in workers(process.pid) if not descendants(below)]
    assert deepest, process.communicate()
    os.kill(deepest[-1], signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert "Traceback" not in errors
    if line:
        assert process.returncode == 2, errors
        (told,) = [told for told in errors.splitlines() if "error" in told]
        assert re.search(line, told)
    finish(case, folder)
    assert_same(case, folder, unbroken(case))
    assert not list((folder / "tmp").iterdir())
