"""Train a grid of settings, many in one program, and rank them by a validation metric. A sweep never reads test.

hlr-jax sweep --config=hlr:ml-100k --workdir=runs/sweep --metric=ndcg \
    --grid=train.learning_rate=1e-3,2e-3 --grid=train.margin=0.5,1.0 --grid=model.num_memories=5,10

--grid=paper is the paper's grid. --grid=mf_als is one for MF-ALS, where a point takes seconds; it can be combined with
--grid=model.embed_dim=128,512. --grid_file=FILE reads a grid from JSON or TOML. With --sampler=optuna --trials=32
Optuna proposes the points instead, from such lists and from ranges such as --grid=train.learning_rate=log:1e-4..1e-2.

--parallel=16 lets up to 16 trainings share a program if they differ only in learning rate, margin, temperature and
seed. Larger values compile less and take more memory.

It writes leaderboard.parquet (with the command that trains each point), history.parquet and leaderboard.png. Rerunning
a stopped command resumes it. After a change of the grid, finished points are not trained again.
"""

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from absl import flags

from hlr_jax import files
from hlr_jax.cli.support import configs, sweep_render
from hlr_jax.cli.support.launch import show_devices
from hlr_jax.errors import InputError, missing_extra
from hlr_jax.sweeps.points import Overrides, Space, product, read_space, search

if TYPE_CHECKING:
    from hlr_jax.sweeps.sweep import Sweep

_CONFIG = configs.define_config()
_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the sweep", required=True)
_GRID = flags.DEFINE_multi_string("grid", [], "KEY=VALUE,VALUE; KEY=LOW..HIGH for a sampler; or paper, or mf_als")
_GRID_FILE = flags.DEFINE_string("grid_file", None, "JSON or TOML file with a list of values for each key")
_METRIC = flags.DEFINE_string("metric", None, "metric to rank by: short for --config.eval.monitor")
_NUM_SEEDS = flags.DEFINE_integer("num_seeds", None, "seeds of each point: short for --config.train.num_seeds")
_SAMPLER = flags.DEFINE_enum(
    "sampler", "grid", ("grid", "optuna"), "all points of the grid, or points that Optuna proposes"
)
_TRIALS = flags.DEFINE_integer("trials", 32, "number of points that a sampler proposes", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch", 8, "number of points proposed and trained at a time", lower_bound=1)
_PARALLEL = flags.DEFINE_integer("parallel", 8, "maximum of trainings that share one program", lower_bound=1)
_SHOW = flags.DEFINE_integer("show", 20, "rows of the leaderboard to print", lower_bound=1)
_QUIET = flags.DEFINE_bool("quiet", False, "show no progress of epochs")


def main() -> None:
    """Run the command."""
    from hlr_jax import sharding
    from hlr_jax.experiment import settings_of
    from hlr_jax.sweeps.sweep import Sweep

    config, changed = _CONFIG.value.to_dict(), configs.overrides()
    settings_of(config)  # raises for a config that can't be swept
    for section, name, value in (("eval", "monitor", _METRIC.value), ("train", "num_seeds", _NUM_SEEDS.value)):
        if value is not None:
            config[section][name] = changed[f"{section}.{name}"] = value
    space = read_space(_GRID.value, _GRID_FILE.value, config)
    points = [] if _SAMPLER.value == "optuna" else product(space)
    show_devices(sharding.available_cores())
    sweep = Sweep(config, _WORKDIR.value, parallel=_PARALLEL.value, quiet=_QUIET.value, log=_say)
    start = time.perf_counter()
    if _SAMPLER.value == "optuna":
        points = _search(sweep, space, changed)
    else:
        sweep.train(points, lambda: write(sweep, points, changed))
    table = write(sweep, points, changed)
    sweep_render.print_leaderboard(table, sweep.metric, _SHOW.value)
    for key in ("train.margin", "train.objective", "train.num_negatives"):
        if sweep.metric == "valid_loss" and len(space.get(key, ())) > 1:
            print(f"losses are not comparable between values of {key}; use --metric=ndcg")
    if table["status"][0] == "done":
        print(f"to train the best: {table['command'][0]}")
    written = ["leaderboard.parquet", "history.parquet"]
    picture = Path(_WORKDIR.value) / "leaderboard.png"
    if sweep_render.draw(table, list(space), sweep.metric, sweep.higher_is_better, picture):
        written.append(picture.name)
    else:
        print(f"no plot: it needs matplotlib; {missing_extra('plots')}")
    print(f"{', '.join(written)} are in {_WORKDIR.value}; {time.perf_counter() - start:.0f} s")


def _search(sweep: "Sweep", space: Space, changed: Overrides) -> list[Overrides]:
    seen: list[Overrides] = []

    def evaluate(points: Sequence[Overrides]) -> list[float | None]:
        seen.extend(point for point in points if point not in seen)
        sweep.train(points, lambda: write(sweep, seen, changed))
        return [None if outcome.reason else outcome.mean for outcome in sweep.outcomes(points)]

    return search(
        space, evaluate, trials=_TRIALS.value, batch=_BATCH.value, higher_is_better=sweep.higher_is_better
    )  # fmt: skip


def write(sweep: "Sweep", points: Sequence[Overrides], changed: Overrides) -> pl.DataFrame:
    """Write the tables of the finished points, and return the leaderboard.

    Args:
      sweep: the sweep.
      points: its points.
      changed: the keys that the command line overrides, with their values.
    """
    from hlr_jax.sweeps.sweep import histories, leaderboard

    outcomes, folder = sweep.outcomes(points), Path(_WORKDIR.value)
    table = leaderboard(outcomes, sweep.metric, higher_is_better=sweep.higher_is_better)
    if table.is_empty():
        raise InputError("no point is finished")
    keys = list(outcomes[0].overrides)
    commands = [command(changed | {key: row[key] for key in keys}) for row in table.iter_rows(named=True)]
    table = table.with_columns(pl.Series("command", commands))
    for name, frame in (("leaderboard", table), ("history", histories(outcomes))):
        with files.atomic_file(folder / f"{name}.parquet") as temporary:
            frame.write_parquet(temporary)
    return table


def command(changed: Overrides) -> str:
    """Return the command that trains the config with these changes; the user names its workdir."""
    settings = [f"--config.{key}={value}" for key, value in changed.items()]
    return shlex.join(["hlr-jax", "train", f"--config={configs.given()}", *settings, "--workdir=runs/best"])


def _say(line: str) -> None:
    print(line, flush=True)
