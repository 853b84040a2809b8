"""What pages show of the code is true: the drawing of the layers, the names of the API, and links."""

import ast
import re
from pathlib import Path

import pytest

import hlr_jax
from docs import prose

DOCS = prose.ROOT / "docs"
PACKAGE = prose.ROOT / "src" / "hlr_jax"


def drawn_layers():
    """Return the names in the boxes of each layer of the drawing, the lowest layer first."""
    drawing = (DOCS / "development" / "architecture.svg").read_text()
    boxes = re.findall(r'<text x="(\d+)" y="(\d+)" font-size="13"[^>]*>([\w.]+)</text>', drawing)
    rows = {}
    for x, y, name in boxes:
        if int(x) < 620:  # beside the layers stands what all of them use
            rows.setdefault(int(y), []).append(name.removesuffix(".py"))
    return [rows[y] for y in sorted(rows, reverse=True)]


def imported(path):
    """Return the parts of the package that a module imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "hlr_jax":
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hlr_jax."):
            yield node.module.split(".")[1]


def test_no_module_imports_from_a_layer_above_its_own():
    layers = drawn_layers()
    height = {name: place for place, names in enumerate(layers) for name in names}
    assert len(layers) == 8
    assert all((PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file() for name in height)
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {other}"
        for path in PACKAGE.rglob("*.py")
        if (own := path.relative_to(PACKAGE).parts[0].removesuffix(".py")) in height
        for other in imported(path)
        if height.get(other, -1) > height[own]
    ]
    assert not wrong


def test_the_api_has_every_public_name_once():
    pages = "".join(page.read_text() for page in sorted((DOCS / "reference" / "api").glob("*.md")))
    named = re.findall(r"^\.\. (?:auto\w+|py:data):: (\w+)$", pages, re.MULTILINE)
    assert sorted(named) == sorted(hlr_jax.__all__)


def test_every_page_is_in_the_table_of_contents():
    index = "".join((DOCS / name).read_text() for name in ("index.md", "reference/api/index.md"))
    listed = set(re.findall(r"^(?:[^\n<]*<)?([\w/-]+)>?$", index, re.MULTILINE))
    pages = {
        str(path.relative_to(DOCS).with_suffix("")).removeprefix("reference/api/")
        for path in prose.all_files()
        if path.suffix == ".md" and path.is_relative_to(DOCS)
    }
    assert pages - listed == {"index"}


@pytest.mark.parametrize(
    "page",
    [path for path in prose.all_files() if path.suffix == ".md"],
    ids=lambda path: str(path.relative_to(prose.ROOT)),
)
def test_links_to_files_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", re.sub(r"(?s)```.*?```", "", page.read_text()))
    files = [Path(page.parent, link) for link in links if not re.match(r"[a-z]+:", link)]
    built = DOCS / "notebooks", prose.ROOT / "notebooks"
    missing = [
        str(path)
        for path in files
        if not path.exists() and not (path.resolve().is_relative_to(built[0]) and (built[1] / path.name).exists())
    ]
    assert not missing


def test_the_generated_pages_name_every_command_and_setting(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    import generate

    from hlr_jax.cli.main import COMMANDS

    commands = "\n".join(generate.commands())
    assert all(f"### hlr-jax {name}\n" in commands for group in COMMANDS.values() for name in group)
    assert "| `--blend_seeds` |" in commands
    settings = "\n".join(generate.settings())
    assert "| `train.num_epochs` | `50` | passes over the training interactions, at most" in settings
    assert "(0 to 1,000,000)" in settings
    assert "### model.name=hlr\n" in settings
    assert "| `sampled_softmax` | temperature |" in "\n".join(generate.lists_of_names())
