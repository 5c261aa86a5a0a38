"""Sets up `.venv` with pinned packages, then runs the package or its tests. Needs nothing but Python 3.11+.

    python3 tools/run.py fit ...     any verb of ugcvqa with its options
    python3 tools/run.py test        ruff, mypy and pytest
    python3 tools/run.py docs        the documentation, into build/docs/html; a warning is an error

The environment is made once, and again when pyproject.toml or constraints.txt change.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "ugcvqa-installed"
INPUTS = (ROOT / "pyproject.toml", ROOT / "constraints.txt")


def main() -> int:
    """Sets up, runs what the arguments ask for, and returns its exit code."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(__doc__)
        return 0 if arguments else 2
    if sys.version_info < (3, 11):  # noqa: UP036 (this script meets any Python)
        print(f"error: Python 3.11 or later is needed, this is {sys.version.split()[0]}", file=sys.stderr)
        return 2
    try:
        set_up()
        if arguments[0] == "test":
            return run_tests(arguments[1:])
        if arguments[0] == "docs":
            return build_docs(arguments[1:])
        return subprocess.run([PYTHON, "-m", "ugcvqa", *arguments], check=False).returncode
    except subprocess.CalledProcessError as error:
        print(f"error: `{' '.join(map(str, error.cmd))}` failed with code {error.returncode}", file=sys.stderr)
        return error.returncode or 1
    except KeyboardInterrupt:
        return 130


def set_up() -> None:
    """Makes the environment if it is missing or was made from other requirements."""
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in INPUTS)).hexdigest() + f" {sys.version}"
    if STAMP.is_file() and STAMP.read_text() == wanted:
        return
    print("setting up .venv (torch and its companions are several GB; once only)", file=sys.stderr)
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    what = ["--constraint", str(ROOT / "constraints.txt"), "--editable", f"{ROOT}[dev]"]
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check"]
    # uv resolves and installs in a fraction of pip's time; pip remains where uv cannot be had. Compiled bytecode, which
    # pip makes by itself, halves the start of every command where Python is told not to write any.
    has_uv = subprocess.run([*pip, "install", "--quiet", "uv"], check=False).returncode == 0
    uv = [str(PYTHON), "-m", "uv", "pip", "install", "--quiet", "--compile-bytecode"]
    if not has_uv or subprocess.run([*uv, *what], check=False).returncode:
        subprocess.run([*pip, "install", *what], check=True)
    subprocess.run([PYTHON, "-m", "compileall", "-q", ROOT / "ugcvqa"], check=False)
    STAMP.write_text(wanted)


def run_tests(arguments: list[str]) -> int:
    """Runs ruff, mypy and pytest; further arguments go to pytest. Stops at the first that fails."""
    workers = [] if any(argument.startswith("-n") for argument in arguments) else ["-n", "auto"]
    for command in (
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["pytest", *workers, "-m", "not slow and not gpu", *arguments],
    ):
        print("$ " + " ".join(command), file=sys.stderr, flush=True)
        code = subprocess.run([PYTHON, "-m", *command], cwd=ROOT, check=False).returncode
        if code:
            return code
    return 0


def build_docs(arguments: list[str]) -> int:
    """Builds the documentation into `build/docs/html` without a network; further arguments go to Sphinx."""
    command = ["sphinx", "-M", "html", "docs", "build/docs", "--fail-on-warning", "--keep-going", "--quiet", *arguments]
    code = subprocess.run([PYTHON, "-m", *command], cwd=ROOT, check=False).returncode
    if not code:
        print("documentation: build/docs/html/index.html")
    return code


if __name__ == "__main__":
    sys.exit(main())
