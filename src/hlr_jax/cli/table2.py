"""Train the systems of the paper's Table 2 on data sets with several seeds, and write the table.

hlr-jax table2 --workdir=runs/table2 --num_seeds=3 \
    --data=ml-100k=$SPLITS/ml-100k.parquet,ml-1m
hlr-jax table2 --workdir=runs/table2 --systems=popularity,ease,cml,hlr

It writes table2.md, table2.csv and table2.tex after every run. Each system has its own workdir for each data set,
WORKDIR/DATA/SYSTEM. Rerunning a stopped command resumes it, and systems or data sets can be added.
"""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from hlr_jax.cli.support.data_sets import data_sets_of
from hlr_jax.evaluation.names import SPREADS, SYSTEMS, TESTED
from hlr_jax.protocols import PROTOCOLS

if TYPE_CHECKING:
    from hlr_jax.table2 import Place

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the runs", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "folder of the tables; the default is the workdir")
_SYSTEMS = flags.DEFINE_list("systems", list(SYSTEMS), "systems of the table: models, popularity, ease")
_DATA = flags.DEFINE_list("data", ["ml-100k"], "data sets of the registry, or NAME=FILE of user, item, split columns")
_NUM_SEEDS = flags.DEFINE_integer("num_seeds", 3, "number of seeds of each run", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "first seed", lower_bound=0)
_CONFIGS = flags.DEFINE_string(
    "configs", str(Path(__file__).parents[1] / "configs" / "table2.py"), 'file with get_config("SYSTEM,DATA")'
)
_PROTOCOL = flags.DEFINE_enum("protocol", None, list(PROTOCOLS), "protocol; the default is that of the configs")
_SPREAD = flags.DEFINE_enum("spread", None, SPREADS, "what ± is over; the default is several seeds")
_METRIC = flags.DEFINE_enum("metric", "ndcg", list(TESTED), "metric of the significance test")


def main() -> None:
    """Run the command."""
    data_sets = data_sets_of(_DATA.value)
    from hlr_jax.cli.support import configs
    from hlr_jax.cli.support.launch import show_devices
    from hlr_jax.folders import check, claim
    from hlr_jax.table2 import ordered_systems, plan

    show_devices(_NUM_SEEDS.value)
    systems, get_config = ordered_systems(_SYSTEMS.value), configs.get_config_of(_CONFIGS.value)
    planned = plan(
        lambda choice: configs.call(get_config, _CONFIGS.value, choice).to_dict(), data_sets, systems,
        num_seeds=_NUM_SEEDS.value, seed=_SEED.value, protocol=_PROTOCOL.value,
    )  # fmt: skip
    folder, output = Path(_WORKDIR.value), Path(_OUTPUT.value or _WORKDIR.value)
    if output != folder:
        check(output, "table")  # before anything is written
    with claim(folder, "runs"), nullcontext() if output == folder else claim(output, "table"):
        _fill(planned, systems, folder, output)


def _fill(planned: dict["Place", dict[str, Any]], systems: list[str], folder: Path, output: Path) -> None:
    """Train missing runs, and write the table after every run."""
    import hlr_jax
    from hlr_jax.cli.support import table2_render
    from hlr_jax.table2 import TableRuns

    runs = TableRuns(folder, planned, tested=TESTED[_METRIC.value], spread=_SPREAD.value)
    table2_render.write(runs.comparison(systems), output)
    say = say_once()
    for number, (place, config) in enumerate(planned.items(), 1):
        if place not in runs.results:
            hlr_jax.run(config, runs.folder(place), quiet=True, log=say)
            runs.add(place)
            table2_render.write(runs.comparison(systems), output)
        state = "already done" if place in runs.before else "done"
        print(f"[{number}/{len(planned)}] {runs.line(place)}, {state}", flush=True)
    table2_render.print_comparison(runs.comparison(systems))
    print(f"table2.md, table2.csv and table2.tex are in {output}")


def say_once() -> Callable[[str], None]:
    """Return a function that prints each line once: all systems on a data set report the same about it."""
    seen = set[str]()

    def say(line: str) -> None:
        if line not in seen:
            seen.add(line)
            print(line, flush=True)

    return say
