"""What killed processes leave is removed by the next, what others own is not; children end with their parent."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ugcvqa import leftovers
from ugcvqa.leftovers import sweep, temporary_folder, temporary_path
from ugcvqa.processes import has_ended, process_name

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads Linux's /proc")
OLD_S = 2 * 86_400


def program(code, *arguments, **options):
    """A process that runs a text and has printed a line."""
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, **options}
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], **options)
    return process, process.stdout.readline().strip()


def ended(numbers, timeout_s=30.0):
    """Whether processes, given by their numbers, are gone within a time, or wait to be buried."""
    deadline = time.monotonic() + timeout_s
    while any(is_running(number) for number in numbers) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(is_running(number) for number in numbers)


def is_running(number):
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture
def dead():
    """Name of a killed process that nobody has waited for."""
    process, name = program("from ugcvqa.processes import process_name as p; print(p(), flush=True); input()")
    assert has_ended(name) is False
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    yield name
    process.wait()


@needs_proc
def test_a_killed_process_is_known_to_have_ended_and_another_of_its_number_is_not_it(dead):
    host, number, start = process_name().split("-")
    assert has_ended(process_name()) is False
    assert has_ended(dead) is True
    assert has_ended(f"{host}-{number}-{int(start, 16) + 1:x}") is True
    assert has_ended(f"{int(host, 16) ^ 1:06x}-{number}-{start}") is None
    assert has_ended("no name") is None


@needs_proc
@pytest.mark.parametrize("ending", [".tmp", ".partial", ".outcome.csv", ".part.mp4", ""])
def test_what_dead_processes_left_goes_and_what_others_own_stays(tmp_path, dead, ending):
    own = temporary_path(tmp_path, ending).name
    other = re.sub("[0-9a-f]{6}", "0" * 6, own, count=1)
    names = {own.replace(process_name(), dead): False, own: True, other: True, other.replace("-", "-0", 1): True}
    names |= {".mine.tmp": True, "ugcvqa-notes.tmp": True, f"copy{own}": True, f"{other[:-1]}e": True}
    for number, name in enumerate(names):
        path = tmp_path / name
        if number % 2 or ending in {"", ".partial"}:
            path.mkdir()
            (path / "model.safetensors").write_bytes(b"half")
        else:
            path.write_bytes(b"half")
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {name for name, stays in names.items() if stays}
    ancient = time.time() - OLD_S
    for path in tmp_path.iterdir():
        os.utime(path, (ancient, ancient))
    sweep(tmp_path, others=False)
    assert (tmp_path / other).exists()
    sweep(tmp_path)
    assert {own, ".mine.tmp", "ugcvqa-notes.tmp", f"copy{own}"} <= {path.name for path in tmp_path.iterdir()}
    assert not (tmp_path / other).exists()


def test_names_of_earlier_versions_go_when_they_are_old(tmp_path):
    names = [".0123456789abcdef.tmp", ".mine_nss_svr.01234567.partial", ".outcome-0123456789abcdef.csv"]
    for name in names:
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == len(names)
    for name in names:
        os.utime(tmp_path / name, (0, 0))
    sweep(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_link_is_removed_without_what_it_leads_to(tmp_path, dead):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / f".ugcvqa-{dead}-00000000").symlink_to(tmp_path / "precious")
    sweep(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["precious", "file"]


def test_the_first_name_in_a_folder_removes_leftovers_and_a_folder_goes_with_its_block(tmp_path, dead):
    (tmp_path / f".ugcvqa-{dead}-00000000.tmp").touch()
    with temporary_folder(tmp_path) as folder:
        (folder / "file").touch()
        assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert not list(tmp_path.iterdir())


PROGRAM = """
import multiprocessing, os, sys, tempfile
from multiprocessing.connection import Listener
from ugcvqa.cli import own_this_process
if __name__ == "__main__":
    own_this_process()
    kept = [tempfile.mkdtemp(), tempfile.NamedTemporaryFile(), Listener(family="AF_UNIX")]
    kept += [multiprocessing.get_context("spawn").Semaphore(), multiprocessing.get_context("spawn").Lock()]
    print("ready", flush=True)
    input()
"""


@needs_proc
def test_a_killed_program_leaves_temporary_files_of_every_library_to_the_next_one(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def left(*numbers):
        shared = Path("/dev/shm").glob("*.ugcvqa-*")
        return [*tmp_path.iterdir(), *(path for path in shared if int(path.name.split("-")[2], 16) in numbers)]

    killed, word = program(PROGRAM, stdin=subprocess.PIPE, start_new_session=True)
    assert word == "ready"
    assert len(left(killed.pid)) >= 2
    assert all(".ugcvqa-" in path.name for path in left())
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert len(left(killed.pid)) >= 2
    following, word = program(PROGRAM, stdin=subprocess.PIPE)
    assert word == "ready"
    following.communicate("\n")
    assert left(killed.pid, following.pid) == []


CHILDREN = """
import multiprocessing, os, sys, time
from ugcvqa.cli import own_this_process
from ugcvqa.processes import end_with_parent
def child(calls):
    if calls:
        end_with_parent()
    os.write(1, b"%d\\n" % os.getpid())  # one write, as two print at once
    while True:
        os.sched_yield() if sys.argv[1] == "busy" else time.sleep(1000)  # under FIFO scheduling others wait else
if __name__ == "__main__":
    own_this_process()
    method = sys.argv[2]
    for _ in range(2):
        multiprocessing.get_context(method).Process(target=child, args=(method != "fork",)).start()
    time.sleep(1000)
"""


@needs_proc
@pytest.mark.parametrize("work", ["asleep", "busy"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_end_when_their_parent_alone_is_killed(tmp_path, method, work):
    script = tmp_path / "program.py"
    script.write_text(CHILDREN)
    parent = subprocess.Popen([sys.executable, str(script), work, method], stdout=subprocess.PIPE, text=True)
    try:
        children = [int(parent.stdout.readline()) for _ in range(2)]
        assert all(is_running(number) for number in children)
    finally:
        parent.kill()
        parent.wait()
    assert ended(children)


@needs_proc
def test_a_fork_whose_parent_died_before_it_could_look_ends_at_once():
    code = (
        "import os; from ugcvqa.processes import end_with_parent\n"
        "read, write = os.pipe(); parent = os.getpid()\n"
        "if os.fork():\n    os._exit(0)\n"
        "while os.getppid() == parent: pass\n"
        "end_with_parent(parent); print('lives on', flush=True)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert result.stdout == ""


def test_little_shared_memory_is_left_to_others(monkeypatch):
    monkeypatch.setattr(leftovers, "_SHARED_MEMORY_BYTES", 2**80)
    assert leftovers.shared_memory() == Path(leftovers.tempfile.gettempdir())
    assert shutil.disk_usage(leftovers.shared_memory()).total
