"""The blocks of code of README and of the pages run, or their commands and flags exist. HLR_JAX_DOCS=all runs more."""

import os
import zipfile
from contextlib import ExitStack

import numpy as np
import polars as pl
import pytest

import hlr_jax
from docs import blocks, examples, prose
from hlr_jax.data.sources import DATASETS, Source

EVERYTHING = os.environ.get("HLR_JAX_DOCS") == "all"
PAGES = [path for path in prose.all_files() if path.suffix == ".md" and blocks.in_order(path)]
SPLITS = ("ml-100k", "movielens-1m", "lastfm", "lastfm-hetrec", "amazon-book", "citeulike-a", "yelp")

# What is in the folder of a page before its first block: names of Python.
SETUP = {
    "docs/data/ids.md": """
own = hlr_jax.Dataset.from_frame(frame, user="customer", item="sku", log=lambda line: None)
recommender = hlr_jax.fit(own, "ease", workdir="runs/own", quiet=True, log=lambda line: None)
frame.head(9).with_columns(customer=pl.lit("new")).select("customer", "sku").write_csv("new.csv")
""",
    "docs/data/splits.md": """
log.write_csv("log.csv")
""",
    "docs/guides/updating.md": """
log.head(3500).write_csv("monday.csv")
log[3500:3800].write_parquet("tuesday.parquet")
frame = log.tail(100)
""",
}


@pytest.fixture(scope="module")
def logs():
    """Return a log of one's own, as numbers and as a shop has it."""
    log = hlr_jax.load_dataset("planted-150x60x4000", cache=False, log=lambda line: None).to_frame()
    rng = np.random.default_rng(0)
    times = 1_609_459_200 + 3600 * rng.permutation(log.height)
    log = log.select("user", "item", rating=rng.integers(4, 6, log.height), timestamp=times)
    people = pl.Series(["alice", "bob", *(f"user-{number}" for number in range(2, 150))])
    frame = log.select(customer=people[log["user"]], sku="sku-" + pl.col("item").cast(str), stars="rating")
    return {"log": log, "frame": frame}


@pytest.fixture
def folder(logs, tmp_path, monkeypatch):
    """Enter a folder with small logs: ``ratings.csv``, the fixed splits, and ``ml-100k`` in the cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPLITS", str(tmp_path / "splits"))
    monkeypatch.setenv("HLR_JAX_DATA", str(tmp_path / "cache"))
    log = logs["log"]
    (tmp_path / "splits").mkdir()
    parts = pl.Series("split", (["train"] * 7 + ["valid"] + ["test"] * 2) * (log.height // 10))
    for name in SPLITS:
        log.select("user", "item", parts.shuffle(seed=0)).write_parquet(tmp_path / "splits" / f"{name}.parquet")
    log.write_csv("ratings.csv")
    archive = tmp_path / "cache" / "sources" / "ml-100k" / "ml-100k.zip"
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("ml-100k/u.data", log.write_csv(separator="\t", include_header=False))
        titles = "".join(
            f"{item}|Film {item} (1997)|01-Jan-1997||http://x|" + "0|1" + "|0" * 17 + "\n" for item in range(60)
        )
        file.writestr("ml-100k/u.item", titles)
    small = Source("https://x/ml-100k.zip", "", "ml-100k/u.data", "movielens-100k", 4, 10, "ml-100k/u.item")
    monkeypatch.setitem(DATASETS, "ml-100k", (small,))
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(prose.ROOT)))
def test_blocks(page, shown, logs, folder):
    names = shown | logs
    exec(SETUP.get(str(page.relative_to(prose.ROOT)), ""), names)
    with ExitStack() as stack:
        for patch in examples.registries():
            stack.enter_context(patch)
        for block in blocks.in_order(page):
            try:
                blocks.handle(block, names, EVERYTHING)
            except (Exception, SystemExit) as problem:
                raise AssertionError(f"{block.name}: {type(problem).__name__}: {problem}") from problem


def handled(text, tmp_path, everything=False):
    """Handle all blocks of a page, and return their namespace."""
    page = tmp_path / "page.md"
    page.write_text(text)
    names = {}
    for block in blocks.in_order(page):
        blocks.handle(block, names, everything)
    return names


def test_blocks_of_python_share_names_and_marks_hold(tmp_path):
    text = "```python\na = 1\n```\n\n- item\n\n  ```python\n  b = a + 1\n  ```\n"
    assert handled(text, tmp_path)["b"] == 2
    slow = text + "<!-- slow -->\n```python\nc = 3\n```\n<!-- needs no_such_package -->\n```python\nd = 4\n```\n"
    assert "c" not in handled(slow, tmp_path)
    names = handled(slow, tmp_path, everything=True)
    assert names["c"] == 3
    assert "d" not in names
    with pytest.raises(ValueError, match="no such mark: slowly"):
        handled(text.replace("```python\na", "<!-- slowly -->\n```python\na"), tmp_path)


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("for m in hlr cml; do hlr-jax train --config=$m:planted --workdir=x --config.train.margin=1.0; done", None),
        ("hlr-jax train --config=hlr:planted --workdr=x", "workdr"),
        ("hlr-jax trian --workdir=x", "hlr_jax.cli.trian"),
        ("d=4; hlr-jax train --config=hlr:planted --workdir=x --config.model.embed=$d", "model.embed"),
        ("taskset -c 0 python experiments/benchmark.py --what=train --no_such=1", "no_such"),
        ("python experiments/no_such.py", "no_such.py"),
        ("hlr-jax list models | head; for", "syntax error"),
    ],
)
def test_commands_that_do_not_run_are_checked(code, wrong, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = f"<!-- long -->\n```sh\n{code}\n```\n"
    if wrong is None:
        handled(text, tmp_path)
    else:
        with pytest.raises((AssertionError, hlr_jax.InputError, ModuleNotFoundError), match=wrong):
            handled(text, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]


def test_a_command_that_fails_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match="error: absent is "):
        handled("```sh\nhlr-jax evaluate --workdir=absent\n```\n", tmp_path)
