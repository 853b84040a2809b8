"""The front of hlr-jax: help, lists, and settings that are refused before anything else happens."""

import subprocess
import sys

import pytest
from command_line import command

from hlr_jax.cli.main import COMMANDS, main
from hlr_jax.configs import recipes
from hlr_jax.configs.unread import check_read
from hlr_jax.data.reading.formats import FORMATS
from hlr_jax.errors import InputError
from hlr_jax.models.options import MODEL_OPTIONS
from hlr_jax.settings import describe
from hlr_jax.training.options import TrainOptions

NAMES = [name for group in COMMANDS.values() for name in group]
WITHOUT_JAX = """
import importlib, sys
from absl import flags
for name in sys.argv[1:]:
    importlib.import_module(f"hlr_jax.cli.{name}")
    for flag in list(flags.FLAGS):
        delattr(flags.FLAGS, flag)
    if "jax" in sys.modules:
        sys.exit(name)
"""


def test_formats_and_how_they_are_read_are_listed():
    status, out = ended("formats")
    assert status == 0
    assert all(name in out for name in (*FORMATS, ".jsonl", "dataset.separator=", "log.csv.gz"))


def ended(program, *arguments):
    done = command(program, *arguments)
    assert len(done.stderr.splitlines()) <= 1
    return done.returncode, done.stdout or done.stderr


def test_no_command_loads_jax_before_its_flags_are_checked():
    words = [sys.executable, "-c", WITHOUT_JAX, *NAMES, "support.help"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", [[], ["--help"], ["help"]])
def test_the_overview_names_every_command(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["hlr-jax", *words])
    monkeypatch.setattr("hlr_jax.cli.main.end_by_signals", lambda hint: None)  # of a process of its own
    main()
    out = capsys.readouterr().out
    assert [name for name in NAMES if f"\n  {name} " not in out] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself_and_its_flags(name):
    status, out = ended(name, "--help")
    assert status == 0
    assert f"hlr-jax {name}" in out
    if name not in ("list", "formats"):
        assert "  --workdir=" in out


def test_the_help_of_a_recipe_has_every_key_with_its_range_and_sentence():
    status, out = ended("train", "--config=hlr-paper", "--help")
    assert status == 0
    config = recipes.get_config("hlr-paper").to_dict()
    for section, values in config.items():
        for key in values if isinstance(values, dict) else []:
            assert f"--config.{section}.{key}=" in out
    lines = " ".join(out.split())
    assert "--config.train.margin=1.0 m of the hinges (eq. 8). (0 to 1e+06)" in lines
    assert "(hinge_hardest | hinge_mean | warp" in lines


@pytest.mark.parametrize("part", [TrainOptions, *MODEL_OPTIONS.values()])
def test_every_setting_has_a_sentence(part):
    assert [setting.name for setting in describe(part) if not setting.meaning] == []


@pytest.mark.parametrize(
    ("what", "shown"),
    [
        ("models", "HLR++"),
        ("objectives", "sampled_softmax"),
        ("datasets", "files.grouplens.org"),
        ("recipes", "hlr-tuned"),
        ("metrics", "hit_rate"),
    ],
)
def test_what_has_a_name_is_listed(what, shown):
    status, out = ended("list", what)
    assert status == 0
    assert shown in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["list"], "WHAT is missing; hlr-jax list --help shows the usage"),
        (["list", "model"], 'unknown list "model" (did you mean "models"?)'),
        (["trian"], 'unknown command "trian" (did you mean "train"?)'),
        (["train"], "--config and --workdir must be given; hlr-jax train --help shows the flags"),
        (["train", "--config=hlr"], "--workdir must be given; hlr-jax train --help shows the flags"),
        (["train", "--config=hlr", "--config.model.N=3"], "unknown setting model.N; model has attention_scale, "),
        (["train", "--config=hlr", "--config.modle.name=cml"], "unknown setting modle (did you mean model?); the con"),
        (["train", "--config=hlr", "--config.seed.x=3"], "unknown setting seed.x; seed has no keys"),
        (["train", "--config=hlr", "--config.train.temperature=0.2", "--workdir=x"], "temperatures=(0.2,)"),
        (["train", "--config=hlr-paper", "--config.train.num_epochs=many", "--workdir=x"], "num_epochs=many"),
    ],
)
def test_a_mistake_is_one_line(words, message):
    status, out = ended(*words)
    assert status == 2
    assert out.startswith("error: ")
    assert message in out


OWN = """
from ml_collections import ConfigDict

def get_config(choice="few"):
    if choice == "none":
        raise KeyError("none")
    return {} if choice == "dict" else ConfigDict({"model": {"name": "cml", "deep": {"er": 1}}})
"""


@pytest.mark.parametrize(
    ("argument", "override", "message"),
    [
        ("", "model.deep.err=2", "unknown setting model.deep.err (did you mean model.deep.er?); model.deep has er"),
        (":none", "", "own.py, line 6: KeyError: 'none'"),
        (":dict", "", "get_config must return a ConfigDict, not dict"),
    ],
)
def test_a_config_of_ones_own(tmp_path, argument, override, message):
    (tmp_path / "own.py").write_text(OWN)
    words = [f"--config.{override}"] if override else []
    status, out = ended("train", f"--config={tmp_path}/own.py{argument}", "--workdir=x", *words)
    assert (status, message in out) == (2, True), out


@pytest.mark.parametrize(
    ("recipe", "changes", "message"),
    [
        ("hlr", {"train.margin": 0.5}, "train.objective=sampled_softmax does not read it; it reads temperature"),
        ("hlr-paper", {"train.temperature": 0.5}, "train.objective=hinge_hardest does not read it; it reads margin"),
        ("hlr-paper", {"train.prune_after": 3}, "one temperature leaves nothing to prune"),
        ("hlr", {"train.temperature": 0.5}, r"overrides it; set train.temperatures=\(0.5,\)"),
        ("mf_als", {"train.learning_rate": 0.5}, "mf_als is fitted without gradient steps"),
        ("mf_als", {"model.solver": "cholesky", "model.cg_steps": 5}, "only model.solver=cg reads it"),
        ("hlr", {"train.negatives": "in_batch", "train.num_negatives": 5}, "train.negatives=in_batch samples none"),
        ("hlr", {"train.objective": "hinge_mean", "train.margin": 0.5}, ""),
        ("hlr", {"train.temperatures": (), "train.temperature": 0.5}, ""),
        ("mf_als", {"train.num_epochs": 5, "model.confidence": 2.0}, ""),
    ],
)
def test_a_setting_that_nothing_reads_is_refused(recipe, changes, message):
    config = recipes.get_config(recipe)
    config.update_from_flattened_dict(changes)
    if not message:
        check_read(config.to_dict(), changes)
        return
    with pytest.raises(InputError, match=message):
        check_read(config.to_dict(), changes)
