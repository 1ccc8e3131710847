"""Sphinx's settings: MyST Markdown, diagrams drawn by the build, warnings are errors (see noxfile.py)."""

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "cni-migrate"
author = "The cni-migrate authors"
copyright = "The cni-migrate authors, Apache-2.0"  # noqa: A001 - Sphinx's name for it
release = version = installed("cni-migrate")

extensions = ["myst_parser", "diagrams"]
myst_enable_extensions = ["colon_fence", "deflist", "tasklist"]
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 4
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "cni-migrate"
html_show_sphinx = False
