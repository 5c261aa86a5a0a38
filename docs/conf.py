"""Sphinx configuration: `python3 tools/run.py docs` builds the site without a network, and a warning is an error."""

import re

from sphinx.application import Sphinx

import ugcvqa

project = "ugcvqa"
author = "the ugcvqa authors"
release = ugcvqa.__version__

extensions = ["myst_parser", "sphinx.ext.apidoc", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
apidoc_modules = [
    {
        "path": "../ugcvqa",
        "destination": "api",
        "separate_modules": False,
        "max_depth": 1,
        # Names that a module passes on in `__all__` are documented where they are defined.
        "automodule_options": ["members", "show-inheritance", "ignore-module-all"],
    }
]
napoleon_use_ivar = True
suppress_warnings = ["ref.python"]  # type hints name classes by their last part, which two rooms may share
myst_heading_anchors = 3
html_theme = "alabaster"
html_theme_options = {"description": "No-reference quality assessment of user-generated video", "page_width": "1100px"}
html_copy_source = False


def plain_text(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Turns a docstring, text with `code` in single backticks, into reStructuredText: other signs mean themselves."""
    del app, what, name, obj, options
    pieces = re.split(r"`+([^`]*)`+", "\n".join(lines))
    pieces[::2] = [re.sub(r"[|*]|(?<=\w)_(?!\w)", r"\\\g<0>", text) for text in pieces[::2]]
    pieces[1::2] = [f"``{code}``" for code in pieces[1::2]]
    lines[:] = "".join(pieces).split("\n")


def setup(app: Sphinx) -> None:
    """Registers what is done to docstrings, before napoleon (priority 500) reads their sections."""
    app.connect("autodoc-process-docstring", plain_text, priority=400)
