import jax
import polars as pl
import pytest

import hlr_jax
from hlr_jax import InputError
from hlr_jax.ranking.population import trained_population, wanted_users
from hlr_jax.scorers.ease import Ease
from hlr_jax.serving.lists import Lister
from hlr_jax.serving.stream import write_lists


@pytest.fixture(scope="module")
def lister(world):
    model = hlr_jax.create_model("hlr", embed_dim=6, num_memories=3, max_history=4)
    params = model.init(jax.random.key(0), world.num_users, world.num_items)
    return Lister(model, trained_population(model, params, world), world, k=3, num_reasons=2)


def everyone(lister):
    return wanted_users(lister.population, None, "error", print)


def test_chunks_are_the_lists_of_all_and_a_stopped_call_resumes(lister, tmp_path, monkeypatch):
    whole, path = lister.lists(*everyone(lister)), tmp_path / "recs.parquet"
    progress, made, lists = [], [], Lister.lists

    def counted(*arguments):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(arguments)
        return lists(*arguments)

    monkeypatch.setattr(Lister, "lists", counted)
    request = {"k": 3, "users": {"how": "all"}}
    with pytest.raises(KeyboardInterrupt):
        write_lists(path, lister, everyone(lister), request, chunk=16)
    assert not path.exists()
    with pytest.raises(
        InputError, match=r"recs\.parquet\.parts is a folder of .* of another command, which differs in k;"
    ):
        write_lists(path, lister, everyone(lister), request | {"k": 4}, chunk=16)
    monkeypatch.setattr(Lister, "lists", lists)
    made_before = sorted(part.stat().st_mtime_ns for part in (tmp_path / "recs.parquet.parts").glob("*.parquet"))
    assert len(made_before) == 2
    rows = write_lists(
        path, lister, everyone(lister), request, chunk=16, progress=lambda *where: progress.append(where)
    )
    assert rows == whole.height == 180
    assert progress == [(0, 60), (16, 60), (32, 60), (48, 60), (60, 60)]
    assert [file.name for file in tmp_path.iterdir()] == ["recs.parquet"]
    frame = pl.read_parquet(path)
    assert frame.drop("score").equals(whole.drop("score"))
    straight = tmp_path / "straight.parquet"
    write_lists(straight, lister, everyone(lister), request, chunk=16)
    assert straight.read_bytes() == path.read_bytes()


def test_text_formats(world, tmp_path):
    fitted = next(Ease((10.0,)).fits(world))
    population = trained_population(fitted.scorer, fitted.state, world)
    lister = Lister(fitted.scorer, population, world, k=3, num_reasons=2)
    wanted = wanted_users(lister.population, lister.population.ids[:2], "error", print)
    whole = lister.lists(*wanted)
    for name in ("recs[1].csv", "recs[1].jsonl"):  # no patterns
        write_lists(tmp_path / name, lister, wanted, {})
    lines = pl.read_ndjson((tmp_path / "recs[1].jsonl").read_bytes())
    assert lines["reason_items"].to_list() == whole["reason_items"].to_list()
    table = pl.read_csv((tmp_path / "recs[1].csv").read_bytes())
    assert whole["reason_titles"].list.len().max() == 2
    assert table["reason_titles"].str.split("|").to_list() == whole["reason_titles"].to_list()
    assert table.columns == whole.columns


def test_outputs_that_can_not_be(lister, tmp_path):
    with pytest.raises(InputError, match="unknown file extension"):
        write_lists(tmp_path / "recs.xlsx", lister, everyone(lister), {})
    (tmp_path / "recs.csv").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        write_lists(tmp_path / "recs.csv", lister, everyone(lister), {})
    (tmp_path / "mine.csv.parts").mkdir()
    (tmp_path / "mine.csv.parts" / "notes").touch()
    with pytest.raises(InputError, match="is not an hlr-jax folder of unfinished lists"):
        write_lists(tmp_path / "mine.csv", lister, everyone(lister), {})
