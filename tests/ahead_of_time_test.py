"""What is compiled for accelerators that are not there: shapes, formulas, and what is read in compiled text."""

import json

import jax
import numpy as np
import pytest
from command_line import command, scripts

import hlr_jax
from hlr_jax import TrainOptions
from hlr_jax.ranking.inputs import ranking_inputs
from hlr_jax.training.learner import GradientLearner
from hlr_jax.training.row_blocks import sides

TEXT = """\
HloModule jit_step

%fused (p: f32[8,4]) -> f32[8,4] {
  %p = f32[8,4]{1,0} parameter(0)
  ROOT %t = f32[4,8]{1,0} transpose(%p), dimensions={1,0}
}

%branch (b: f32[8,4]) -> f32[2,4] {
  ROOT %k = f32[2,4]{0,1} copy(%b), backend_config={"estimated_cycles":"8"}
}

%body (arg: (s32[], f32[32,4])) -> (s32[], f32[32,4]) {
  %arg = (s32[], f32[32,4]{1,0}) parameter(0)
  %rows = f32[32,4]{1,0:T(8,128)} get-tuple-element(%arg), index=1
  %no = f32[32,4]{1,0} add(%rows, %rows), backend_config={"estimated_cycles":"9223372036854775807"}
  %ar = (f32[8,4]{1,0}, bf16[6]{0}) all-reduce(%rows, %rows), channel_id=1, to_apply=%add
  %ags = (f32[8,4]{1,0}, f32[32,4]{1,0}) all-gather-start(%rows), channel_id=2, dimensions={0}
  %agd = f32[32,4]{1,0} all-gather-done(%ags)
  %cps = (f32[8,4]{1,0}, f32[8,4]{1,0}, u32[], u32[]) collective-permute-start(%rows), channel_id=3
  %c = f32[32,4]{0,1} copy(%agd), backend_config={"estimated_cycles":"70"}
  %f = f32[8,4]{1,0} fusion(%rows), kind=kLoop, calls=%fused, backend_config={"estimated_cycles":"30"}
  %either = f32[2,4]{0,1} conditional(%arg, %f, %f), branch_computations={%add, %branch}
  ROOT %out = (s32[], f32[32,4]{1,0}) tuple(%arg, %c)
}

ENTRY %main (a: f32[32,4]) -> f32[32,4] {
  %a = f32[32,4]{1,0} parameter(0)
  %outside = f32[32,4]{0,1} copy(%a), backend_config={"estimated_cycles":"5"}
  %w = (s32[], f32[32,4]{1,0}) while(%outside), condition=%cond, body=%body
  ROOT %g = f32[32,4]{1,0} get-tuple-element(%w), index=1
}
"""


@pytest.fixture(scope="module")
def parts():
    with scripts():
        from ahead_of_time import compiled_text, compiling, formulas, shapes, table, targets
    modules = compiled_text, compiling, formulas, shapes, table, targets
    return type("Parts", (), {module.__name__.rpartition(".")[2]: module for module in modules})


def test_collectives_are_counted_with_the_bytes_of_their_results(parts):
    assert parts.compiled_text.collectives(TEXT) == {
        "all-reduce": {"count": 1, "bytes": 8 * 4 * 4 + 6 * 2},
        "all-gather": {"count": 1, "bytes": 32 * 4 * 4},
        "collective-permute": {"count": 1, "bytes": 8 * 4 * 4},
    }


def test_copies_and_cycles_are_those_of_loops(parts):
    read = parts.compiled_text
    assert read.copies(TEXT, 1) == [(128, "transpose f32[4, 8]"), (32, "copy f32[2, 4]"), (512, "copy f32[32, 4]")]
    assert read.copies(TEXT, 200) == [(512, "copy f32[32, 4]")]
    assert read.looped_cycles(TEXT) == 108


def test_whole_tables_and_what_no_program_should_have_are_found(parts):
    read = parts.compiled_text
    assert read.whole_tables(TEXT, {32}, 4) == ["f32[32, 4]"]
    assert read.whole_tables(TEXT, {33}, 4) == []
    assert read.oddities(TEXT) == []
    odd = TEXT + '  %x = f64[<=3] custom-call(%a), custom_call_target="xla_ffi_python_cpu_callback"\n'
    assert read.oddities(odd + "  %y = f64[3] add(%a)\n") == [
        'custom_call_target="xla_ffi_python_cpu_callback"', "dynamic shape", "f64",
    ]  # fmt: skip


def test_bytes_by_formula_are_those_of_the_pages(parts):
    """docs/results/scaling.md: 0.23 GB of tables, moments and gradient; 8 or 12 bytes of an interaction."""
    shapes, formulas, targets = parts.shapes, parts.formulas, parts.targets
    paper, one, eight = shapes.SIZES["paper"], targets.TARGETS["h100x1"], targets.TARGETS["h100x8"]
    hlr, hlrpp = (hlr_jax.create_model(name, embed_dim=100, num_memories=20) for name in ("hlr", "hlrpp"))
    assert formulas.state_bytes(paper, 100, one, 4) == 226_024_000
    assert formulas.state_bytes(paper, 100, eight, 4) == 226_024_000 / 4
    assert formulas.interaction_bytes(paper, hlr, "triplets") == 8 * 7_920_000 + 4 * 129_758
    assert formulas.interaction_bytes(paper, hlrpp, "triplets") == 12 * 7_920_000 + 4 * (129_758 + 11_509)
    assert formulas.interaction_bytes(paper, hlr, "users") == 4 * 7_920_000 + 4 * (129_758 + 129_757)


def test_the_roofline_of_a_step_is_that_of_the_page(parts):
    """docs/results/scaling.md: a step of HLR on an H100 takes 135 us of Adam, and 19, 54 and 20 of the rest."""
    shapes, formulas, targets = parts.shapes, parts.formulas, parts.targets
    model = hlr_jax.create_model("hlr", embed_dim=100, num_memories=20, max_history=50, variant="paper")
    step = formulas.Step(model, shapes.SIZES["paper"], 1000, 1, False, targets.TARGETS["h100x1"])
    assert step.roofline_s() == pytest.approx((135 + 19 + 54 + 20) * 1e-6, rel=0.01)


def shapes_of(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


@pytest.mark.parametrize("batch", ["triplets", "users"])
def test_shapes_are_those_of_real_interactions(parts, batch):
    shapes = parts.shapes
    world = hlr_jax.load_dataset("planted-61x53x350", cache=False, log=lambda _: None)
    model = hlr_jax.create_model("hlrpp", embed_dim=4, num_memories=2, item_users_sampling="inverse_popularity")
    options = TrainOptions() if batch == "triplets" else TrainOptions(batch="users", negatives="per_user")
    users, items = world.train.degrees(61), world.train.item_degrees(53)
    source = GradientLearner(model, options, (61, 53)).source(world.train, world.train, world.train)
    assert shapes_of(shapes.source_shape(model, users, items, batch, 1)) == shapes_of(source)
    inputs = ranking_inputs(model, world.train, world.train, (61, 53))
    assert shapes_of(shapes.ranking_shape(model, users, items)) == shapes_of(inputs)
    for loops in (1, 3):
        assert shapes_of(shapes.solver_shapes(users, items, loops)) == shapes_of(sides(world.train, 61, 53, loops))


def test_made_up_degrees_have_the_mean_of_their_size(parts):
    size = parts.shapes.SIZES["movielens-1m"]
    for degrees, rows, most in (
        (parts.shapes.of_users(size), size.users, size.items), (parts.shapes.of_items(size), size.items, size.users),
    ):  # fmt: skip
        assert len(degrees) == rows
        assert degrees.sum() == pytest.approx(size.interactions, rel=0.1)
        assert 1 <= degrees.min() < degrees.max() <= most
        assert (np.diff(degrees) <= 0).all()


def test_a_compiler_that_is_absent_is_named_in_one_line(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for target, extra in (("v5e-1", "tpu-aot"), ("h100x8", "cuda-aot")):
        done = command("accelerators.py", f"--targets={target}")
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert f"pip install 'hlr_jax[{extra}]'" in done.stderr


def test_records_become_a_table(tmp_path):
    record = {
        "target": "v5e-1", "size": "paper", "model": "hlr", "program": "rank", "mesh": "1 x 1", "batch_size": 8,
        "outcome": "compiled", "argument_bytes": 2_000_000, "temporary_bytes": 3000, "needed_bytes": 2_003_000,
        "fits": True, "collectives": {"all-reduce": {"count": 2, "bytes": 8000}}, "whole_tables": [], "compile_s": 2.4,
    }  # fmt: skip
    first = record | {"fits": False}
    file = tmp_path / "records.jsonl"
    file.write_text(json.dumps(first) + "\n" + json.dumps(record) + "\n")
    done = command("accelerators.py", f"--read={file}")
    assert done.returncode == 0
    (row,) = (line for line in done.stdout.splitlines() if line.startswith("| paper"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:9] == ["paper", "hlr", "rank", "1 x 1", "2.0 MB", "3.0 kB", "", "2.0 MB", "yes"]
    assert cells[9:11] == ["all-reduce 2: 8.0 kB", "no"]


def test_more_interactions_than_positions_say_why_they_do_not_fit(parts):
    record = parts.compiling.record_of("v5e-1", "web-5g", "hlr", "triplets-lazy_adam", 100, 8192)
    assert (record["outcome"], record["fits"]) == ("not compiled", False)
    # 8 bytes of each interaction, offsets of users, and tables with two moments.
    assert record["needed_bytes"] == 8 * 5 * 10**9 + 4 * (10**8 + 1) + 12 * 100 * 110 * 10**6
    assert record["why"] == "positions are int32, which allows at most 2,147,483,648 interactions"
