"""Results and parts belong to the run and the request that made them: what does not match is not read."""

import json
import shutil

import polars as pl
import pytest
from command_line import command
from fabricated import fabricate, sign, train_anew

import hlr_jax
from hlr_jax import InputError, folders
from hlr_jax.errors import Damaged, OtherRunError
from hlr_jax.evaluation.comparison import finished, read_result
from hlr_jax.files import sha256
from hlr_jax.json_files import read_json, write_json
from hlr_jax.provenance import maker_of, parameters_hash
from hlr_jax.recommender.recommender import Recommender
from hlr_jax.serving import stream
from hlr_jax.workdir import begin

CONFIG = {"seed": 0, "train": {"margin": 1.0, "num_epochs": 4}, "mesh": {"data": 1}}


@pytest.fixture
def run(tmp_path):
    return fabricate(tmp_path / "run", 0.3, config=CONFIG)


def test_a_run_is_told_by_its_parameters_and_the_settings_that_matter(run):
    before = maker_of(run)
    for changed, is_other in (
        ({"train": {"margin": 1.0, "num_epochs": 9}, "mesh": {"data": 4}}, False),
        ({"train": {"margin": 2.0, "num_epochs": 4}}, True),
        ({"seed": 1}, True),
    ):
        write_json(run / "config.json", CONFIG | changed)
        assert (maker_of(run) != before) == is_other
    write_json(run / "config.json", CONFIG)
    train_anew(run, "other bits")
    assert maker_of(run) != before
    # Neither where it lies nor when it was copied matters.
    moved = shutil.copytree(run, run.with_name("moved"))
    assert maker_of(moved) == maker_of(run)


def test_results_of_another_run_are_not_read(run, tmp_path):
    other = fabricate(tmp_path / "other", 0.34)
    assert read_result(run).k == 10
    assert command("compare", f"--workdir={run},{other}").returncode == 0
    train_anew(run, "trained once more")
    with pytest.raises(OtherRunError, match=r"test\.json is not of the run that is in .*: run hlr-jax evaluate"):
        read_result(run)
    done = command("compare", f"--workdir={run},{other}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "test.json is not of the run that is in" in done.stderr
    assert finished(run, CONFIG) is None  # Table 2 and baselines make them anew
    sign(run)
    assert read_result(run).k == 10


def test_damage_of_what_tells_a_run_is_not_taken_for_another_run(run):
    record = run / "result" / "4" / "record.json"
    record.write_text(record.read_text().replace("(0, 1, 2)", "(0, 1, 3)"))
    for read in (lambda: read_result(run), lambda: finished(run, CONFIG)):
        with pytest.raises(Damaged, match=r"record\.json: damaged, or changed by hand: .*; delete .*result and run"):
            read()
    record.unlink()
    with pytest.raises(Damaged, match=r"record\.json: no such file; delete .*result and run"):
        maker_of(run)
    # A part of a blend that was stopped while its result was written has none, and is no damage.
    fabricate(run.with_name("other"), 0.34)
    (run.with_name("other") / "parts" / "ease" / "result" / ".4.tmp").mkdir(parents=True)
    assert maker_of(run.with_name("other"))


def test_a_table_of_users_of_another_run_is_not_read(run, tmp_path):
    other = fabricate(tmp_path / "other", 0.34)
    shutil.copyfile(other / "eval" / "per_user.parquet", run / "eval" / "per_user.parquet")
    with pytest.raises(InputError, match=r"per_user\.parquet: damaged, it is not what was written"):
        read_result(run)


def test_a_workdir_without_checkpoints_that_starts_again_shows_no_old_results(run, tmp_path):
    other = fabricate(tmp_path / "other", 0.34)
    shutil.rmtree(run / "result")
    with pytest.raises(InputError, match="has no result: no training has ended there"):
        read_result(run)
    with folders.claim(run, "run"):
        begin(run, CONFIG | {"seed": 7})  # other settings: nothing binds them any more
    assert not (run / "eval").exists()
    done = command("compare", f"--workdir={run},{other}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "eval/test.json: no such file" in done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of EASE, and the same trained on other data with the same settings."""
    folder = tmp_path_factory.mktemp("runs")
    for name, seed in (("one", 0), ("two", 9)):
        world = hlr_jax.load_dataset("planted-60x50x900", seed=seed, cache=False, log=lambda _: None)
        hlr_jax.fit(world, "ease", model={"regularization": (30.0,)}, workdir=folder / name, quiet=True)
    return folder


def test_lists_of_two_trainings_are_never_in_one_file(trained, tmp_path, monkeypatch):
    folder, output = tmp_path / "run", tmp_path / "recs.parquet"
    shutil.copytree(trained / "one", folder)
    words = "recommend", f"--workdir={folder}", "--users=all", "--k=3", f"--output={output}"

    def stopped(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(stream, "_merge", stopped)  # all parts are made
        assert command(*words).returncode == 130
    # The same data and settings; one number of the parameters is another.
    state = next(folder.glob("result/state.safetensors"))
    state.write_bytes(state.read_bytes()[:-4] + b"\x00\x00\x80\x3f")
    record = folder / "result" / "scorer.json"
    write_json(record, read_json(record, {}, "") | {"state": sha256(state)})
    done = command(*words)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert (
        "recs.parquet.parts is a folder of unfinished lists of another command, which differs in parameters"
        in done.stderr
    )
    assert not output.exists()
    folders.remove(tmp_path / "recs.parquet.parts")
    assert command(*words).returncode == 0
    asked = json.loads(pl.read_parquet_metadata(output)["hlr_jax"])
    assert asked["parameters"] == parameters_hash(folder)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["recs.parquet", "run"]


def test_a_recommender_has_no_metrics_of_an_earlier_run(trained, tmp_path):
    folder, lines = shutil.copytree(trained / "one", tmp_path / "run"), []
    assert set(Recommender.load(folder).metrics) == {"valid", "test"}
    shutil.rmtree(folder / "eval")
    shutil.copytree(trained / "two" / "eval", folder / "eval")
    assert Recommender.load(folder, log=lines.append).metrics == {}
    assert any("test.json is not of the run that is in" in line for line in lines)
    done = command("evaluate", f"--workdir={folder}")
    assert done.returncode == 0
    assert set(Recommender.load(folder).metrics) == {"valid", "test"}
