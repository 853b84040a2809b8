"""Sizes beyond what is handled at a time, settings beyond the data, formulas and control letters in ids."""

import jax
import numpy as np
import polars as pl
import pytest
from command_line import command

import hlr_jax
from hlr_jax.cli.support import lists
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.neighbor_sampling import neighbor_source, sample_neighbors
from hlr_jax.errors import InputError
from hlr_jax.files import expanded
from hlr_jax.serving.export import export_model
from hlr_jax.terminal import as_markup, shown
from hlr_jax.types import NeighborSpec


@pytest.fixture(scope="module")
def large():
    """More users and items than any step of an export takes at once: 1,024 neighbors are drawn together."""
    return hlr_jax.load_dataset("planted-1100x1060x9000", log=lambda _: None)


@pytest.mark.parametrize("name", ["cml", "lrml", "mf_als"])
def test_exports_of_more_than_a_tile(large, name, tmp_path):
    model = hlr_jax.create_model(name, embed_dim=2)
    params = model.init(jax.random.key(0), large.num_users, large.num_items)
    folder = export_model(model, params, large, tmp_path / "export", k=3)
    assert pl.read_parquet(folder / "users.parquet").height == large.num_users > 1024
    assert pl.read_parquet(folder / "items.parquet").height == large.num_items > 1024


def test_histories_have_the_size_of_the_data(rng):
    users = np.repeat(np.arange(5), [1, 3, 70, 20, 40])
    items = np.concatenate([np.sort(rng.choice(90, count, replace=False)) for count in (1, 3, 70, 20, 40)])
    interactions = Interactions(users.astype(np.int32), items.astype(np.int32))
    for sampling in ("uniform", "inverse_popularity"):
        source = neighbor_source(interactions, 5, 90, NeighborSpec(10**5, sampling), derived=False)
        assert source.spec.size == 128
        bits = jax.random.bits(jax.random.key(0), (source.num_bits,))
        for user in range(5):
            drawn = sample_neighbors(bits, source, np.int32(user))
            assert sorted(np.asarray(drawn.ids)[np.asarray(drawn.mask)]) == list(items[users == user])
    assert neighbor_source(interactions, 5, 90, NeighborSpec(50), derived=False).spec.size == 50


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of Popularity on ids that spreadsheets and terminals take for more than ids."""
    folder = tmp_path_factory.mktemp("odd")
    items = ["=1+1", "+2", "-3", "@x", "\tt", "a\x1b[2Jb", "[bold]c", "d\u202ee"]
    rows = [(user, item) for user in ("=cmd|'/c calc'!A1", "ann", "b\x1bob") for item in items[:6]] + [
        ("ann", item) for item in items[6:]
    ]
    pl.DataFrame(rows, schema=["user", "item"], orient="row").write_parquet(folder / "log.parquet")
    words = f"--config.dataset.path={folder}/log.parquet", f"--workdir={folder}/run", "--quiet"
    done = command("train", "--config=popularity:own", *words)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    return folder / "run"


def test_formulas_are_told_of_or_escaped(run, tmp_path):
    words = "recommend", f"--workdir={run}", "--users=all", "--include_seen", "--k=8"
    done = command(*words, f"--output={tmp_path}/plain.csv")
    assert "rows have texts that a spreadsheet runs as formulas; --escape_formulas puts ' before them" in done.stdout
    done = command(*words, f"--output={tmp_path}/safe.csv", "--escape_formulas")
    assert "warning" not in done.stdout
    plain, safe = (pl.read_csv(tmp_path / f"{name}.csv") for name in ("plain", "safe"))
    assert plain["item"].str.contains(r"^[=+\-@\t\r]").any()
    for name in ("user", "item", "title"):
        assert not safe[name].str.contains(r"^[=+\-@\t\r]").any()
        assert safe[name].str.replace(r"^'", "").equals(plain[name])
    assert safe["score"].equals(plain["score"])


def test_control_letters_are_shown_and_not_sent(run):
    done = command("recommend", f"--workdir={run}", "--users=all", "--include_seen", "--k=8")
    assert done.returncode == 0, done.stderr
    for letter in ("\x1b", "\t", "\u202e"):
        assert letter not in done.stdout
    assert r"user b\x1bob" in done.stdout
    assert r"a\x1b[2Jb" in done.stdout
    assert "[bold]c" in done.stdout
    done = command("recommend", f"--workdir={run}", "--users=no\x1b[2J\x1b]such\nuser")
    assert (done.returncode, len(done.stderr.splitlines()), "\x1b" in done.stderr) == (2, 1, False)


def test_what_is_escaped():
    assert shown("Amélie 日本 👩‍🚀 می‌خواهم") == "Amélie 日本 👩‍🚀 می‌خواهم"
    assert shown("a\nb\r\x00\x7f\x9b\ud800") == r"a\nb\r\x00\x7f\x9b\ud800"
    assert as_markup("[red]\x1b") == r"\[red]\x1b"
    assert lists.as_markup is as_markup


def test_a_memory_limit_of_nothing_is_refused(run, tmp_path):
    words = f"--workdir={run}", "--users=all", f"--output={tmp_path}/lists.csv", "--memory_limit_mib=0"
    done = command("recommend", *words)
    assert (done.returncode, done.stderr) == (2, "error: recommend.memory_limit_mib must be at least 1, got 0\n")


def test_a_home_that_is_not_known(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert str(expanded("~/log.csv")) == "/somewhere/log.csv"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    with pytest.raises(InputError, match=r"^~/log.csv: the home directory is not known; set HOME"):
        expanded("~/log.csv")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--coordinator_address=localhost:port", "--process_id=1"], "must be HOST:PORT with a port from 1 to 65535"),
        (["--coordinator_address=localhost:99999", "--process_id=1"], "must be HOST:PORT with a port from 1 to 65535"),
        (["--coordinator_address=localhost:1", "--process_id=1", "--connect_timeout=0"], "must be at least 1 s, got 0"),
        (
            ["--coordinator_address=localhost:1", "--process_id=1", "--connect_timeout=1"],
            "no process answered at local",
        ),
    ],
)
def test_a_coordinator_that_is_not_there(words, message, tmp_path):
    words = "--config=cml:planted-60x50x900", f"--workdir={tmp_path}/run", "--num_processes=2", *words
    done = command("train", *words)
    assert (done.returncode, len(done.stderr.splitlines()), message in done.stderr) == (2, 1, True), done.stderr
