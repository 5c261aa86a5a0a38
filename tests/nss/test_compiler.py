import logging
import subprocess
import sys

from ugcvqa.nss import compiled_maps, compiled_resize, compiled_statistics, compiler


def test_kernels_are_kept_in_a_folder_of_the_user_named_by_their_content(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = compiler._cache_folder.__wrapped__()
    assert folder.startswith(str(tmp_path))
    assert folder == compiler._cache_folder.__wrapped__()


def test_a_folder_that_others_may_write_to_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = compiler.Path(compiler._cache_folder.__wrapped__())
    first.chmod(0o777)
    monkeypatch.setattr(compiler.tempfile, "gettempdir", lambda: str(tmp_path / "other"))
    assert compiler._cache_folder.__wrapped__().startswith(str(tmp_path / "other"))


def test_without_any_folder_kernels_are_compiled_in_each_process_and_this_is_said(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(compiler.tempfile, "gettempdir", lambda: str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        assert compiler._cache_folder.__wrapped__() is None
    assert "no folder can keep" in caplog.text


def test_the_first_process_says_that_it_compiles_and_the_next_gets_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    program = (
        "import numpy as np; from ugcvqa.nss.compiled_statistics import map_sums;"
        "sums = np.empty(39); map_sums(np.random.default_rng(0).normal(size=(300, 401)).astype(np.float32), sums);"
        "print(sums.tolist())"
    )
    runs = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout != ""
    assert "compiling the NSS kernels" in runs[0].stderr
    assert not runs[1].stderr


def test_kernels_call_nothing_that_has_machine_code_of_its_own():
    """Such code would differ with what a process compiled and what it loaded, in the last bits of what it computes."""
    found = 0
    for module in (compiled_maps, compiled_resize, compiled_statistics):
        for kernel in (value for value in vars(module).values() if hasattr(value, "py_func")):
            for name in kernel.py_func.__code__.co_names:
                called = kernel.py_func.__globals__.get(name)
                if hasattr(called, "py_func"):
                    found += 1
                    assert called.targetoptions.get("forceinline"), f"{kernel.py_func.__name__} calls {name}"
    assert found > 20


def test_compiled_kernels_need_no_torch():
    program = "import sys; import ugcvqa.nss.compiled; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
