import hashlib
import logging
import subprocess
import sys

import numpy as np
import pytest

from ugcvqa import kernels
from ugcvqa.kernels import inlined, kernel
from ugcvqa.nss.compiled_statistics import map_sums

SHIFT = 2.0


@inlined
def shifted(value):
    return value + SHIFT


@kernel(n_rows=2)
def add(a, b, times, out, work):
    for i in range(a.shape[0]):
        for k in range(a.shape[1]):
            work[0, k] = a[i, k] + b[i, k]
            work[1, k] = shifted(work[0, k])
        for k in range(a.shape[1]):
            out[i, k] = times * work[1, k]


@kernel()
def makes_an_array(a, out):
    row = np.zeros(a.shape[0])
    for k in range(a.shape[0]):
        row[k] = a[k]
    out[:] = row.sum()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kernels._cache_folder.cache_clear()
    yield kernels._cache_folder()
    kernels._cache_folder.cache_clear()


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_a_kernel_computes_what_its_function_says_for_each_data_type(dtype):
    a = np.arange(6, dtype=dtype).reshape(2, 3)
    out = np.empty((2, 3))
    add(a, np.full_like(a, 10), 3, out)
    np.testing.assert_array_equal(out, 3 * (a + 12.0))


def test_an_array_in_another_order_is_refused():
    a = np.zeros((4, 3), np.float32)
    with pytest.raises(ValueError, match="C order"):
        add(a.T, a.T, 1, np.empty((3, 4)))


def test_an_array_of_another_byte_order_is_refused():
    a = np.zeros((4, 3), np.dtype(np.float32).newbyteorder())
    with pytest.raises(ValueError, match="byte order"):
        add(a, a, 1, np.empty((4, 3)))


def test_a_kernel_that_makes_arrays_is_refused():
    with pytest.raises(RuntimeError, match="NRT_MemInfo_alloc"):
        makes_an_array(np.zeros(3), np.zeros(3))


def test_a_kernel_uses_no_variables_of_a_function_around_it():
    factor = 2.0

    @kernel()
    def scale(out):
        out[0] = factor

    with pytest.raises(TypeError, match="scale"):
        scale(np.zeros(1))


def test_a_kernel_has_no_function_inside():
    """The name of its machine code would be another one in each process."""
    with pytest.raises(TypeError, match="has a function inside"):
        kernel()(eval("lambda out: (lambda x: x)(out)", {}))(np.zeros(1))


def test_machine_code_depends_on_the_constants_and_on_what_a_kernel_calls(monkeypatch):
    def content():
        return b"".join(kernels._content(add.function))

    before = content()
    assert content() == before
    monkeypatch.setitem(globals(), "SHIFT", 3.0)
    assert content() != before
    monkeypatch.undo()
    monkeypatch.setitem(globals(), "SHIFT", (2.0, 1.0))
    assert content() != before
    monkeypatch.undo()
    monkeypatch.setattr(shifted, "__code__", (lambda value: value - SHIFT).__code__)
    assert content() != before


def test_damaged_machine_code_is_not_run_but_compiled_again(folder):
    kinds = (("f", 2), ("f", 2), ("", 0), ("f", 2), ("f", 2))
    kernels._machine_code(add.function, kinds, "add-test")
    path = kernels.Path(folder) / "add-test.o"
    damaged = path.read_bytes()[:-1] + b"x"
    path.write_bytes(damaged)
    again = kernels._machine_code(add.function, kinds, "add-test")
    assert again != damaged[kernels._DIGEST :]
    assert path.read_bytes() == hashlib.sha256(again).digest() + again


def test_machine_code_is_kept_in_a_folder_of_the_user(tmp_path, folder):
    assert folder.startswith(str(tmp_path))
    assert folder == kernels._cache_folder.__wrapped__()


def test_a_folder_that_others_may_write_to_is_not_used(tmp_path, folder, monkeypatch):
    kernels.Path(folder).chmod(0o777)
    monkeypatch.setattr(kernels.tempfile, "gettempdir", lambda: str(tmp_path / "other"))
    assert kernels._cache_folder.__wrapped__().startswith(str(tmp_path / "other"))


def test_without_any_folder_kernels_are_compiled_in_each_process_and_this_is_said(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(kernels.tempfile, "gettempdir", lambda: str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        assert kernels._cache_folder.__wrapped__() is None
    assert "no folder can keep" in caplog.text


def test_the_first_process_says_that_it_compiles_and_the_next_gets_the_same_bits_without_numba(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    program = (
        "import sys; import numpy as np; from ugcvqa.nss.compiled_statistics import map_sums;"
        "sums = np.empty(39); map_sums(np.random.default_rng(0).normal(size=(300, 401)).astype(np.float32), sums);"
        "print(sums.tolist()); print('numba' in sys.modules, file=sys.stderr)"
    )
    runs = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout != ""
    assert "compiling the NSS kernels" in runs[0].stderr
    assert runs[0].stderr.endswith("True\n")
    assert runs[1].stderr == "False\n"


def test_threads_have_work_areas_of_their_own():
    from concurrent.futures import ThreadPoolExecutor

    x = np.random.default_rng(0).normal(size=(200, 300)).astype(np.float32)
    expected = np.empty(39)
    map_sums(x, expected)

    def one(_):
        sums = np.empty(39)
        map_sums(x, sums)
        return sums

    with ThreadPoolExecutor(4) as pool:
        for sums in pool.map(one, range(32)):
            np.testing.assert_array_equal(sums, expected)


def test_compiled_nss_needs_neither_torch_nor_scipy():
    program = "import sys; import ugcvqa.nss.compiled; sys.exit(bool({'torch', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
