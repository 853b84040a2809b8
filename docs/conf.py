"""Settings of the documentation site; `make docs` builds it, without a network."""

import os
import re
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / "src")]
os.environ.setdefault("JAX_PLATFORMS", "cpu")  # docstrings are read, nothing is computed

import generate  # noqa: E402

generate.write_all(DOCS)

project = "hlr_jax"
copyright = "the authors of hlr_jax"
version = release = generate.package_version()

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build", "_generated", "**/.ipynb_checkpoints"]
suppress_warnings = ["mystnb.unknown_mime_type"]

# Pages. Headings get anchors as on GitHub, so that a link works in both places.
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks are kept with their outputs; experiments/notebooks.py executes them

# The API.
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
nitpick_ignore_regex = [("py:class", ".*")]  # types of other packages, and of modules that are not public
python_use_unqualified_type_names = True

# furo: light and dark, wide and narrow, and no script that is fetched from elsewhere.
html_theme = "furo"
html_static_path, html_css_files = ["_static"], ["site.css"]
html_title = f"hlr_jax {version}"
html_show_sourcelink = False
html_show_copyright = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def skip_member(app: Any, what: str, name: str, member: Any, skip: bool, options: Any) -> bool:
    """Skip the fields of named tuples: the docstring of the class lists them, with their meaning."""
    return skip or type(member).__name__ == "_tuplegetter"


def escape_formulas(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Escape `|q_v|` and `n * q`: a docstring is plain text, but for what stands in double backquotes and examples."""
    example = False
    for place, line in enumerate(lines):
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>>"))
        if not example:
            parts = line.split("``")
            parts[::2] = [re.sub(r"([|*])", r"\\\1", part) for part in parts[::2]]
            lines[place] = "``".join(parts)


def setup(app: Any) -> None:
    """Tell Sphinx what this file adds to it."""
    app.connect("autodoc-process-docstring", escape_formulas, priority=400)  # before napoleon
    app.connect("autodoc-skip-member", skip_member)
