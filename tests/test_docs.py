"""The documentation builds from the docstrings and pages, without a network and without a warning."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

from ugcvqa import __version__

REPO = Path(__file__).resolve().parent.parent

WITHOUT_NETWORK = """
import socket, sys
def refuse(*args, **kwargs): raise OSError("the documentation asked for the network")
socket.socket.connect = socket.getaddrinfo = refuse
from sphinx.cmd.build import main
sys.exit(main(sys.argv[1:]))
"""


def test_documentation_builds_without_a_warning(tmp_path):
    options = ["-M", "html", "docs", str(tmp_path), "--fail-on-warning", "--keep-going", "--quiet"]
    command = [sys.executable, "-c", WITHOUT_NETWORK, *options]
    result = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    rooms = {path.parent.name for path in (REPO / "ugcvqa").glob("*/__init__.py")}
    pages = {path.stem.removeprefix("ugcvqa.") for path in (tmp_path / "html" / "api").glob("ugcvqa.*.html")}
    assert pages == rooms
    reader = (tmp_path / "html" / "api" / "ugcvqa.media.html").read_text()
    assert "Measures what a video file holds" in reader
    fetched = [
        address
        for page in (tmp_path / "html").rglob("*.html")
        for address in re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="((?:https?:)?//[^"]*)"', page.read_text())
    ]
    assert not fetched


def test_versions_agree():
    citation = yaml.safe_load((REPO / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert f"## {__version__} - {citation['date-released']}" in (REPO / "CHANGELOG.md").read_text()
