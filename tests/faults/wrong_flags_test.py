"""Every flag of every command with every kind of wrong value: status 2, one short line, and nothing is written.

CI takes a sample; ``HLR_JAX_FAULTS=all`` takes all, and prints the count.
"""

import importlib
import os
import shutil
import sys
from unittest import mock

import numpy as np
import pytest
from absl import flags
from command_line import command, scripts
from fabricated import fabricate
from refusals import fault_of_line

import hlr_jax
from hlr_jax.configs import recipes
from hlr_jax.settings import SECTIONS

SAMPLE = 60  # attempts of CI
RECIPE = "--config=hlr-paper:planted", "--config.dataset.name=planted-60x50x900"
BASE = {  # a command line of each that is well; what has a wrong value stands in the place of the same flag
    "train": [*RECIPE, "--workdir=out"],
    "sweep": [*RECIPE, "--grid=train.margin=1", "--workdir=out"],
    "refit": ["--workdir=ease", "--output=out"],
    "update": ["--workdir=ease", "--data=rows.csv", "--output=out"],
    "blend": ["--workdirs=ease", "--workdir=out"],
    "evaluate": ["--workdir=ease"],
    "compare": ["--workdir=made,other"],
    "baselines": ["--data=planted-60x50x900", "--systems=popularity", "--workdir=out"],
    "table2": ["--data=planted-60x50x900", "--systems=popularity", "--workdir=out"],
    "report": ["--workdir=ease", "--output=out"],
    "recommend": ["--workdir=ease", "--users=all", "--output=out.csv"],
    "explain": ["--workdir=ease", "--user=1"],
    "similar": ["--workdir=ease", "--items=1"],
    "keys": ["--workdir=ease", "--output=out"],
    "export": ["--workdir=ease", "--output=out"],
}
MINUS = "-1", "-1000000000000000000000000000000"
NO_NUMBER = "many", "", "1e3x", "1,2"
NO_FOLDER = "", " ", "file", "theirs", "file/below"
NO_FILE = "none", "@none", "junk", "@junk", "theirs", "@theirs", "\x00", "x" * 10**5, "", "nope="
NO_RECIPE = "nope", "hlr-papr", "hlr-tuned:nope", "none.py", "junk.py", "theirs", "", ":", "hlr-paper.py"
NEW = {"train": "workdir", "sweep": "workdir", "blend": "workdir", "baselines": "workdir", "table2": "workdir"}
ABSENT = "none"  # a folder that is not there, where it is read
OF_EVERY = ["--nope=1", "--nope", "stray", "--workdirr=x", "-", "--=", "=", "--workdir", "--config.x=1"]


def flags_of(name):
    """The flags of a command that are not absl's."""
    with scripts(), mock.patch.object(sys, "argv", ["hlr-jax", *BASE[name]]):
        importlib.import_module(f"hlr_jax.cli.{name}")
        by_module = flags.FLAGS.flags_by_module_dict()
        return [flag for module, those in by_module.items() if str(module).startswith("hlr_jax") for flag in those]


def wrong_values(name, flag):
    """What a flag can't be."""
    kind, known = type(flag.parser).__name__, getattr(flag.parser, "enum_values", None)
    if flag.boolean:
        return "maybe", "2", ""
    if known:
        return "nope", f"{known[0]}q", "", "3"
    if kind in ("IntegerParser", "FloatParser"):
        return *NO_NUMBER, *(("1.5", "nan", *MINUS) if kind == "IntegerParser" else ("nan", "inf"))
    if flag.name in ("workdir", "workdirs", "output"):
        is_file = (name, flag.name) in (("report", "output"), ("explain", "output"), ("similar", "output"))
        written = flag.name == "output" or NEW.get(name) == flag.name
        return (
            ("", " ", "theirs", "file/below")
            if is_file
            else NO_FOLDER
            if written
            else (*NO_FOLDER, ABSENT, "none,ease")
        )
    return NO_RECIPE if flag.name == "config" else NO_FILE


def overrides():
    """Flags that override a key of a recipe with what it can't be."""
    config = recipes.get_config("hlr-paper:planted").to_dict()
    for section in SECTIONS:
        for key, value in config[section].items():
            words = ("x" * 400,) if isinstance(value, str) else ("many", "", "-3", "nan", "1e400", "[1]")
            for word in words:
                yield f"--config.{section}.{key}={word}"
            yield f"--config.{section}.{key}s=1"


def attempts():
    """Every command line: a command, and the words that are wrong."""
    for name in BASE:
        yield from ((name, word) for word in OF_EVERY if not (word == "--config.x=1" and name in ("train", "sweep")))
        for flag in flags_of(name):
            yield from ((name, f"--{flag.name}={value}") for value in wrong_values(name, flag))
            yield name, f"--{flag.name}q=1"
    yield from (("train", word) for word in overrides())


@pytest.fixture(scope="module")
def folder(tmp_path_factory, world):
    """A folder with what the commands read."""
    root = tmp_path_factory.mktemp("flags")
    hlr_jax.fit(world, "ease", model={"regularization": (30.0,)}, workdir=root / "ease", quiet=True)
    fabricate(root / "made", 0.3)
    fabricate(root / "other", 0.34)
    (root / "theirs").mkdir()
    (root / "theirs" / "file").write_text("precious")
    (root / "file").write_text("precious")
    (root / "rows.csv").write_text("user,item\n1,2\n")
    for name in ("junk", "junk.py"):
        (root / name).write_bytes(b"\x00\xff" * 50)
    return root


def tree(folder):
    return {path: path.is_file() and path.stat().st_mtime_ns for path in folder.rglob("*")}


def attempt(folder, name, word):
    """Return what is wrong with how a command line is refused; nothing: nothing is."""
    flag, before = word.partition("=")[0], tree(folder)
    words = [other for other in BASE[name] if other.partition("=")[0] != flag or flag == "--grid"]
    done = command(name, *words, word)
    left = sorted({path.name for path, _ in tree(folder).items() ^ before.items()})
    if done.returncode != 2:
        return f"status {done.returncode}: {(done.stdout + done.stderr)[-200:]!r}"
    if left:
        return f"wrote {left}"
    line = done.stderr.removesuffix("\n")
    return fault_of_line(line, "error: ")


def test_every_flag_with_every_wrong_value(folder, monkeypatch):
    monkeypatch.chdir(folder)
    everything = os.environ.get("HLR_JAX_FAULTS") == "all"
    chosen = tried = list(attempts())
    if not everything:
        chosen = [tried[at] for at in sorted(np.random.default_rng(0).choice(len(tried), SAMPLE, replace=False))]
    faults = {}
    for name, word in chosen:
        try:
            fault = attempt(folder, name, word)
        except Exception as problem:
            fault = f"{type(problem).__name__}: {str(problem)[:200]}"
        if fault:
            faults[name, word[:60]] = fault
            for path in (folder / "out", folder / "out.csv"):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    if everything:
        print(f"\n{len(chosen)} attempts, {len(faults)} failed")
    assert not faults, "\n".join(f"{where}: {fault}" for where, fault in faults.items())
    assert len(tried) > 900
