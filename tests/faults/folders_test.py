"""Folders that are not the package's are refused and not touched; in its own, only what it wrote is deleted."""

import json

import pytest
from command_line import command
from fabricated import fabricate

import hlr_jax
from hlr_jax import InputError, folders
from hlr_jax.blends.workdir import finish_blend
from hlr_jax.folders import MARKER
from hlr_jax.recommender.recommender import Recommender
from hlr_jax.sweeps.sweep import Sweep
from hlr_jax.workdir import begin

PLANTED = ["--config=cml-paper:planted", "--config.dataset.name=planted-60x50x900"]


def tree(folder):
    """What is in a folder: each path, its bytes and when it was written."""
    return {
        path.relative_to(folder).as_posix(): (path.is_file() and path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def theirs(tmp_path):
    """A folder of somebody, with names that runs have too."""
    folder = tmp_path / "theirs"
    (folder / "dataset").mkdir(parents=True)
    (folder / "dataset" / "ratings.csv").write_text("precious")
    (folder / "config.json").write_text('{"mine": 1}')
    return folder


@pytest.fixture(scope="module")
def ease(world, tmp_path_factory):
    """A run of EASE in a workdir."""
    folder = tmp_path_factory.mktemp("runs") / "ease"
    hlr_jax.fit(world, "ease", model={"regularization": (30.0,)}, workdir=folder, quiet=True)
    return folder


def test_every_command_leaves_a_folder_of_somebody_as_it_is(theirs, ease):
    before = tree(theirs)
    for words in (
        ["train", *PLANTED, f"--workdir={theirs}"],
        ["train", "--config=auto:planted", f"--workdir={theirs}"],
        ["sweep", *PLANTED, "--grid=train.margin=0.5,1", f"--workdir={theirs}"],
        ["table2", f"--workdir={theirs}"],
        ["baselines", f"--workdir={theirs}"],
        ["refit", f"--workdir={ease}", f"--output={theirs}"],
        ["blend", f"--workdirs={ease}", f"--workdir={theirs}"],
        ["export", f"--workdir={ease}", f"--output={theirs}"],
        ["evaluate", f"--workdir={theirs}"],
    ):
        done = command(*words)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), (words, done.stderr)
        assert str(theirs) in done.stderr
        assert "is not an hlr-jax" in done.stderr or f"has no {MARKER}" in done.stderr
        assert tree(theirs) == before, words


def test_so_does_every_function(world, theirs, ease, tmp_path):
    before = tree(theirs)
    model, options = hlr_jax.create_model("cml", embed_dim=4), hlr_jax.TrainOptions(num_epochs=1)
    sections = {"dataset": {"name": "planted-60x50x900"}, "model": {"name": "cml"}, "eval": {"monitor": "ndcg"}}
    for call in (
        lambda: hlr_jax.fit(world, "ease", workdir=theirs),
        lambda: hlr_jax.train_model(world, model, options, workdir=theirs, quiet=True),
        lambda: Sweep(sections, theirs, log=lambda _: None),
        lambda: Recommender.load(ease).save(theirs),
        lambda: finish_blend(theirs, ["a"]),
        lambda: hlr_jax.fit(world, "ease", workdir=theirs / "config.json"),
    ):
        with pytest.raises(InputError, match=r"is not an hlr-jax|is a file"):
            call()
        assert tree(theirs) == before


@pytest.mark.parametrize("flag", ["--workdir=", "--workdir= "])
def test_an_empty_name_is_no_folder(flag, tmp_path, monkeypatch, world):
    (tmp_path / "notes.txt").write_text("precious")
    monkeypatch.chdir(tmp_path)
    for words in (["train", *PLANTED, flag], ["sweep", *PLANTED, "--grid=train.margin=1", flag], ["compare", flag]):
        assert command(*words).stderr == "error: --workdir is empty; pass a path\n"
    assert command("export", "--workdir=runs", "--output=").stderr == "error: --output is empty; pass a path\n"
    with pytest.raises(InputError, match="the name of a folder is empty"):
        hlr_jax.fit(world, "ease", workdir=flag.partition("=")[2])
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_saved_folder_is_replaced_unless_something_was_put_there(ease, tmp_path):
    recommender, folder = Recommender.load(ease), tmp_path / "saved"
    recommender.save(folder)
    assert json.loads((folder / MARKER).read_text())["kind"] == "recommender"
    recommender.save(folder)
    (folder / "parameters" / "notes.txt").write_text("precious")
    before = tree(folder)
    with pytest.raises(InputError, match=r"holds parameters/notes\.txt, which hlr-jax did not write; move it away"):
        recommender.save(folder)
    assert tree(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    with pytest.raises(InputError, match="is not an hlr-jax saved recommender: it is a run"):
        recommender.save(ease)


def test_a_run_that_starts_again_deletes_what_runs_write_and_nothing_else(tmp_path):
    with folders.claim(tmp_path, "run"):
        begin(tmp_path, {"seed": 0})
        for name in ("dataset/users.parquet", "eval/test.json", "notes/mine.txt", "mine.json"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("x")
        begin(tmp_path, {"seed": 1})
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert left == [MARKER, "config.json", "mine.json", "notes/mine.txt"]


def test_a_folder_is_removed_but_for_what_is_not_its_own(tmp_path):
    folder = tmp_path / "recs.parquet.parts"
    with folders.claim(folder, "parts", {"k": 3}):
        (folder / "000000.parquet").touch()
        (folder / "own.parquet").touch()
        folders.remove(folder)
        assert sorted(path.name for path in folder.glob("[!.]*")) == ["own.parquet"]
        (folder / "own.parquet").unlink()
        folders.remove(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_marker_that_does_not_read_is_nobodys(tmp_path):
    for text in ("", "[]", '{"kind": "run"}', '{"kind": "ship", "holds": [], "of": {}}', "\x00"):
        (tmp_path / MARKER).write_text(text)
        (tmp_path / "dataset").mkdir(exist_ok=True)
        with pytest.raises(InputError, match=r"(damaged|of another version), .*nothing is written there; pass"):
            folders.claim(tmp_path, "run")
    (tmp_path / "dataset").rmdir()  # nothing but what a kill has left: it is as good as empty
    (tmp_path / f".{MARKER}.0123abcd.tmp").touch()
    folders.claim(tmp_path, "run").release()
    assert json.loads((tmp_path / MARKER).read_text())["kind"] == "run"


def test_one_kind_of_folder_does_not_become_another(tmp_path):
    fabricate(tmp_path / "run", 0.3)
    with folders.claim(tmp_path / "sweep", "sweep"):
        (tmp_path / "sweep" / "trials").mkdir()
    done = command("train", *PLANTED, f"--workdir={tmp_path / 'sweep'}")
    assert "is not an hlr-jax run: it is a sweep; pass another folder" in done.stderr
