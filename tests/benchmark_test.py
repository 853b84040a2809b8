"""Each part of the benchmark runs on a tiny world and its records have their fields. No speed is asserted."""

import json
import re
from dataclasses import replace

import jax
import numpy as np
import pytest
from command_line import command, scripts

import hlr_jax
from hlr_jax.training.batches import group_widths
from hlr_jax.training.learner import GradientLearner
from hlr_jax.types import Neighbors, Padded

TINY = {"embed_dim": 6, "num_memories": 2, "max_history": 3}


@pytest.fixture(scope="module", autouse=True)
def _compile_quickly():
    """No speed is looked at here, so the compiler need not try hard, nor compile anything twice."""
    quick = {"jax_disable_most_optimizations": True, "jax_persistent_cache_min_compile_time_secs": 0.0}
    before = {name: jax.config.values[name] for name in quick}
    for name, value in quick.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(scope="module")
def parts():
    """The folder of the benchmark, imported as its command imports it."""
    with scripts():
        from benchmarks import (
            arithmetic,
            beside,
            devices,
            growth,
            kernels,
            machine,
            measuring,
            plots,
            ranking,
            report,
            settings,
            training,
        )
    modules = (
        arithmetic, beside, devices, growth, kernels, machine, measuring, plots, ranking, report, settings, training,
    )  # fmt: skip
    return type("Parts", (), {module.__name__.rpartition(".")[2]: module for module in modules})


@pytest.fixture(scope="module")
def tiny(parts):
    return parts.settings.Settings(repeats=2, users=5, num_seeds=2, model=TINY, train={"batch_size": 200})


TIMES = {"steady_s", "compile_s", "first_s", "runs_s"}
RATES = {"gflops_per_s", "gemm_gflops_per_s", "gemm_shape", "of_gemm"}


def test_training_and_ranking(parts, tiny, world):
    record = parts.training.bench_train(tiny, world, "cml")
    assert TIMES | RATES | {"positives_per_s", "draws_per_s", "draws_share", "flops_per_positive"} <= set(record)
    assert (record["interactions"], len(record["runs_s"])) == (len(world.train), 2)
    assert (record["batch"], record["batch_size"]) == ("triplets", 200)
    assert record["flops_per_positive"] == 3 * 2 * 3 * 6  # of a gradient, for two pairs
    assert "later" not in record
    ranked = parts.ranking.bench_rank(tiny, world, "cml")
    assert TIMES | RATES | {"users_per_s", "ms_per_user", "flops_per_user"} <= set(ranked)
    assert ranked["compile_s"] > 0
    assert ranked["ms_per_user"] == pytest.approx(1e3 / ranked["users_per_s"])
    solved = parts.training.bench_train(tiny, world, "mf_als")
    assert TIMES | RATES | {"iteration_s", "flops_per_iteration"} <= set(solved)
    assert "positives_per_s" not in solved


def test_batches_of_users_are_counted_in_positives(parts, tiny, world):
    given = {"batch": "users", "negatives": "per_user", "num_negatives": 4, "batch_size": 64}
    record = parts.training.bench_train(replace(tiny, train=given, interactions=40), world, "cml")
    degrees = parts.settings.shortened(world, 40, parts.settings.create_model("cml", tiny)).train.degrees()
    count, users = degrees.sum(), np.sum(degrees > 0)
    assert (record["batch"], record["batch_size"], record["interactions"]) == ("users", 64, count)
    assert record["positives_per_s"] == pytest.approx(count / record["steady_s"])
    assert record["draws_per_s"] == pytest.approx(count / record["draws_s"])
    # Each positive is a pair of its own; a user meets its negatives once.
    assert record["flops_per_positive"] * count == pytest.approx(3 * (count + 4 * users) * 3 * 6)
    widths = group_widths(degrees, 4)
    places = [min(width for width in widths if width >= degree) for degree in degrees[degrees > 0]]
    assert record["padding"] == pytest.approx((sum(places) + 4 * users) / (count + 4 * users))
    parts.report.print_tables([record | parts.machine.environment()])


@pytest.mark.parametrize(
    ("batch", "negatives", "for_each_positive", "for_each_user"),
    [
        ("triplets", "per_triplet", 1 + 7, 0), ("triplets", "shared", 1 + 7, 0), ("triplets", "in_batch", 1 + 16, 0),
        ("users", "per_user", 1, 7), ("users", "all", 1, 50),
    ],
)  # fmt: skip
def test_pairs_that_an_epoch_scores(parts, tiny, world, batch, negatives, for_each_positive, for_each_user):
    options = hlr_jax.TrainOptions(
        batch=batch, negatives=negatives, num_negatives=7, batch_size=16, objective="sampled_softmax"
    )
    learner = GradientLearner(parts.settings.create_model("cml", tiny), options, (60, 50))
    pairs = parts.training.pairs_per_epoch(learner.source(world.train, world.train, world.train), options)
    assert pairs == for_each_positive * len(world.train) + for_each_user * np.unique(world.train.user).size


def test_the_compiler_plans_the_memory_of_an_isolated_epoch(parts, tiny, world):
    record = parts.training.bench_train(replace(tiny, isolated=True, repeats=1), world, "cml")
    planned = record["later"]()
    assert planned["planned_state_mib"] * 2**20 >= 3 * 4 * 6 * (world.num_users + world.num_items)  # and two moments
    assert planned["planned_temporary_mib"] > 0


def test_seeds_are_compared_round_by_round(parts, tiny, world):
    record = parts.training.bench_seeds(tiny, world, "cml")
    assert len(record["runs_s"]) == len(record["runs_of_one_s"]) == 5  # at least, whatever --repeats says
    ratios = np.array(record["runs_s"]) / np.array(record["runs_of_one_s"])
    assert record["ratio"] == pytest.approx(np.median(ratios), rel=1e-2)
    assert record["ratio_low"] <= record["ratio"] <= record["ratio_high"]


def test_commands_are_timed_beside(parts, tiny, world):
    given = ["one: echo 12,000 triplets/s", "echo 3,000 triplets/s"]
    record = parts.training.bench_train(replace(tiny, beside=given, beside_pattern=r"([0-9.,]+) trip"), world, "cml")
    assert [(each["label"], each["beside_rate"]) for each in record["beside"]] == [("one", 12000), (given[1], 3000)]
    assert record["beside"][0]["command"] == "echo 12,000 triplets/s"
    assert record["beside"][1]["rate_over_beside"] == pytest.approx(record["positives_per_s"] / 3000)
    record = parts.ranking.bench_rank(replace(tiny, beside=["true"]), world, "cml")
    assert {"label", "command", "beside_s", "beside_time_ratio"} <= set(record["beside"][0])
    for line, pattern, message in (
        ("exit 3", "", "status 3"),
        ("echo", r"([0-9]+)", "matches nothing"),
        ("true", "[0-9]+", "needs a group"),
        ("true", "(", "is no regular expression"),
    ):
        with pytest.raises(hlr_jax.InputError, match=message):
            parts.beside.Beside(line, pattern)()


def test_the_forms_of_the_relation_agree(parts):
    kernels = parts.kernels
    given = kernels.inputs(8, 3, 2, 6)
    forms = kernels.forms()
    assert set(forms) >= {"naive", "by pair", "factored"}
    naive, *others = (jax.jit(kernels.gradient(relation, 4))(*given) for relation in forms.values())
    whole = jax.jit(jax.grad(lambda shared: kernels.scores(forms["naive"], given[0], shared).sum()))(given[1])
    np.testing.assert_allclose(naive[1].keys, whole.keys, rtol=1e-3, atol=1e-5)  # pieces are added up
    for other in others:
        for here, there in zip(jax.tree.leaves(naive), jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(here.ravel(), there.ravel(), rtol=1e-3, atol=1e-5)


def test_the_forms_of_the_relation_are_timed(parts, tiny, world):
    records = list(parts.kernels.bench_kernels(tiny, world, 8, [4]))
    assert {(r["direction"], r["form"]) for r in records} == {
        *((direction, form) for direction in ("forward", "gradient") for form in parts.kernels.forms()),
        *(("ranking", form) for form in ("naive", "by pair", "factored", "as ranked")),
    }
    assert all(TIMES | {"pairs_per_s", "time_ratio_over_factored"} <= set(record) for record in records)


def test_growth_has_a_record_for_each_value_and_plots(parts, tiny, tmp_path, monkeypatch):
    growth = parts.growth
    monkeypatch.setattr(growth, "BATCHES", (replace(growth.BATCHES[0], batch_sizes=(200, 100)),))
    axes = (
        growth.Axis("D", "embed_dim", (6, 5)), growth.Axis("H", "max_history", (3, 2)),
        growth.Axis("U", "users", (60, 90)), growth.Axis("U", "users", (60, 10**7), at={"D": 4}),
        growth.Axis("I", "items", (50,), ranked=5),
    )  # fmt: skip
    # Of 10,000,000 users 8 tables of D = 4 take 1.28 GB, which this machine has not.
    monkeypatch.setattr(growth, "available_memory", lambda: 10**9)
    records = list(growth.bench_growth(tiny, "cml", "planted-60x50x900", axes))
    assert [(r["axis"], r["value"], r["D"], r["B"], r["U"]) for r in records] == [
        ("D", 5, 5, 200, 60), ("D", 6, 6, 200, 60), ("U", 60, 6, 200, 60), ("U", 90, 6, 200, 90), ("U", 60, 4, 200, 60),
        ("U", 10**7, 4, 200, 10**7), ("I", 50, 6, 200, 60), ("B", 100, 6, 100, 60), ("B", 200, 6, 200, 60),
    ]  # fmt: skip
    assert [r["value"] for r in records if r.get("predicted")] == [10**7]
    measured = [record for record in records if not record.get("predicted")]
    assert all(("us_per_user" in record) == (record["axis"] != "B") for record in measured)
    # 648 positives in batches of 200 or 100.
    assert {(r["B"], r["steps"]) for r in measured} == {(200, 4), (100, 7)}
    assert all(r["us_per_step"] == pytest.approx(1e6 * r["steady_s"] / r["steps"]) for r in measured)
    closed = list(growth.bench_growth(tiny, "mf_als", "planted-60x50x900", (axes[2], axes[4]), (50, 100)))
    assert [(r["model"], r["step_of"], r["value"]) for r in closed[:-1]] == [
        ("mf_als", "iteration", 60), ("mf_als", "iteration", 90), ("mf_als", "iteration", 50), ("ease", "fit", 50),
        ("ease", "fit", 100),
    ]  # fmt: skip
    assert (closed[-1]["value"], closed[-1]["ends"]) == (15811, True)  # 4 bytes of 15811 x 15811 cells are 1.0 GB
    parts.report.print_tables(records + closed)
    pytest.importorskip("matplotlib")
    drawn = parts.plots.draw([record | parts.machine.environment() for record in records + closed], tmp_path)
    assert [path.name for path in drawn] == ["growth.png"]
    assert all(path.stat().st_size > 1000 for path in drawn)


def test_slopes_and_predictions_are_powers(parts):
    line = [
        {"what": "growth", "axis": "I", "value": v, "us_per_step": 3e-9 * v**3, "us_per_user": v} for v in (2, 4, 20)
    ]
    with_slopes = parts.growth.with_slopes(line)
    assert with_slopes[0]["slope"] == pytest.approx(3)
    assert with_slopes[0]["rank_slope"] == pytest.approx(1)
    assert parts.growth.predicted(line[-1], 100, 3)["us_per_step"] == pytest.approx(3e-9 * 100**3)


def test_repeated_data_has_copies_of_each_pair(parts, world):
    wide = parts.growth.repeated(world, users=150, items=100)
    assert (wide.num_users, wide.num_items, len(wide.train)) == (150, 100, 4 * len(world.train))
    pairs = set(zip(wide.train.user.tolist(), wide.train.item.tolist(), strict=True))
    first = (int(world.train.user[0]), int(world.train.item[0]))
    assert {(first[0] + u, first[1] + i) for u in (0, 60) for i in (0, 50)} <= pairs
    order = np.lexsort((wide.train.item, wide.train.user))
    assert np.array_equal(order, np.arange(len(order)))


def test_tables_get_rows_without_interactions(parts, world):
    wide = parts.settings.widened(world, users=90)
    assert (wide.num_users, wide.num_items, wide.train) == (90, world.num_items, world.train)


def test_meshes_of_the_present_devices(parts, tiny, tmp_path):
    devices, world = parts.devices, "planted-60x50x900"
    records = list(devices.bench_devices(tiny, "cml", world, ((1, 1), (2, 2), (16, 1))))
    assert [record["mesh"] for record in records] == ["1 x 1", "2 x 2"]
    assert records[0]["time_ratio_over_one"] == 1
    assert all("positives_per_s" in record for record in records)
    assert all("not a speed-up" in record["caveat"] for record in records)
    assert not list(devices.bench_devices(tiny, "mf_als", world))
    pytest.importorskip("matplotlib")
    drawn = parts.plots.draw([record | parts.machine.environment() for record in records], tmp_path)
    assert [path.name for path in drawn] == ["devices.png"]


def test_a_shortened_epoch_keeps_the_tables_and_whole_rows(parts, tiny, world):
    model = parts.settings.create_model("cml", tiny)
    short = parts.settings.shortened(world, 100, model)
    assert (short.num_users, short.num_items) == (world.num_users, world.num_items)
    degrees, whole = (np.bincount(d.train.user, minlength=world.num_users) for d in (short, world))
    assert 100 <= degrees.sum() < 100 + whole.max()
    assert set(degrees[degrees > 0] - whole[degrees > 0]) == {0}
    for name in ("transcf", "mf_als"):
        assert parts.settings.shortened(world, 100, parts.settings.create_model(name, tiny)) is world


@pytest.mark.parametrize("variant", ["paper", "reference"])
def test_formulas_agree_with_what_the_compiler_counts(parts, variant):
    """The compiler counts operations too, but exponentials otherwise, and masks as well: so only about."""
    d, n, h, a, t = 64, 16, 32, 8, 100
    sizes = {"embed_dim": d, "num_memories": n, "max_history": h, "max_item_users": a, "variant": variant}
    for name in hlr_jax.model_names():
        known = dict(hlr_jax.create_model(name).options)
        if variant == "reference" and "variant" not in known:
            continue
        model = hlr_jax.create_model(name, **{key: size for key, size in sizes.items() if key in known})
        params = model.init(jax.random.key(0), 3, t)

        def counted(function, items, lead, model=model, params=params):
            history, item_users = model.history.size, model.item_users.size
            near = Neighbors(
                Padded(np.ones((history, d), np.float32), np.ones(history, bool)),
                Padded(np.ones((*lead, item_users, d), np.float32), np.ones((*lead, item_users), bool)),
            )
            shape = {"user": (d,), "item": (*lead, d)}
            derived = {spec.name: np.ones(shape[spec.axis]) for spec in model.arrays if spec.axis != "shared"}
            given = params | derived, params["user"][0], items, near
            return jax.jit(function).lower(*given).cost_analysis()["flops"]

        pair = counted(lambda *given, model=model: model.pair(*given).score, params["item"][0], ())
        assert model.flops[0] == pytest.approx(pair, rel=0.2), name
        catalogue = counted(model.catalogue, params["item"], (t,))
        assert model.flops[1] * t == pytest.approx(catalogue, rel=0.2), name


def test_arithmetic_of_an_iteration(parts, world):
    model = hlr_jax.create_model("mf_als", embed_dim=10, confidence=2.0, cg_steps=2)
    p, rows = len(world.train), world.num_users + world.num_items
    expected = rows * 2 * 100 + 2 * p * 10 + 3 * (rows * 2 * 100 + 2 * p * 4 * 10)
    asked = model, world.num_users, world.num_items, p
    assert parts.arithmetic.iteration_flops(*asked) == pytest.approx(expected)


def test_the_command_appends_records_of_fresh_processes(tmp_path, monkeypatch):
    output = tmp_path / "speed.jsonl"
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    done = command(
        "benchmark.py",
        "--what=rank", "--isolate", "--models=cml", "--data=planted-60x50x900", "--repeats=1", f"--output={output}",
        "--model=embed_dim=6,num_memories=2,max_history=3", "--train=batch_size=200,num_negatives=2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "users/s" in done.stdout
    (record,) = map(json.loads, output.read_text().splitlines())
    assert {"device", "cpu", "cores", "python", "jax", "jaxlib", "numpy", "hlr_jax"} <= set(record)
    assert record["peak_mib"] >= record["peak_mib_before"] > 0
    assert record["peak_of"] == "its own process"
    assert record["options"] == {"batch_size": 200, "num_negatives": 2, **TINY}


MISTAKES = {
    "--what=trian": 'unknown part of --what: "trian" (did you mean "train"?)',
    "--models=hrl": 'unknown model of --models: "hrl" (did you mean "hlr',
    "--train=batch": '--train: "batch" is not of the form option=value',
    "--train=batch_sise=1": "unknown setting train.batch_sise (did you mean train.batch_size?)",
    "--train=batch=users": "train.negatives=per_triplet is not for train.batch=users",
    "--model=embed=1": 'option of --model: "embed" (did you mean "embed_dim"?)',
}


@pytest.mark.parametrize("argument", MISTAKES)
def test_mistakes_are_named(parts, argument):
    """In this process, where the part that finds them can be called alone; the command prints what it raises."""
    settings = parts.settings
    flag, _, value = argument.removeprefix("--").partition("=")
    if flag == "what":
        done = command("benchmark.py", argument)
        assert (done.returncode, done.stderr.strip()) == (2, "error: " + MISTAKES[argument])
        return

    def read():
        given = value.split(",") if flag == "models" else settings.parsed([value], flag)
        settings.check(settings.Settings(**{flag: given}))

    with pytest.raises(hlr_jax.InputError, match=re.escape(MISTAKES[argument])):
        read()


def test_batches_that_a_model_has_not_are_refused_before_anything_is_measured(parts):
    given = parts.settings.Settings(models=["cml", "transcf"], train={"batch": "users", "negatives": "per_user"})
    with pytest.raises(hlr_jax.InputError, match="model transcf has a penalty on each triplet; set triplets"):
        parts.settings.check(given)
