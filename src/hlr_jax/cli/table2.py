"""Train the systems of the paper's Table 2 on data sets with several seeds, and write the table.

hlr-jax table2 --workdir=runs/table2 --num_seeds=3 \
    --data=ml-100k=../shared/data/splits/ml-100k.parquet,ml-1m

It writes table2.md, table2.csv and table2.tex, anew after every run. Each system on each data set has its own workdir,
WORKDIR/DATA/SYSTEM: the same command goes on where a stopped one was, and more systems or data sets can be added.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from absl import flags

from hlr_jax import InputError, errors, model_names, run
from hlr_jax.cli.support import configs, table2_render
from hlr_jax.cli.support.data_sets import data_sets_of
from hlr_jax.cli.support.launch import describe_devices, devices_for_seeds
from hlr_jax.evaluation import comparison, names
from hlr_jax.protocols import PROTOCOLS
from hlr_jax.workdir import check_settings

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the runs", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "folder of the tables; the workdir, unless given")
_SYSTEMS = flags.DEFINE_list("systems", list(names.SYSTEMS), "systems of the table")
_DATA = flags.DEFINE_list("data", ["ml-100k"], "data sets of the registry, or NAME=FILE of user, item, split columns")
_NUM_SEEDS = flags.DEFINE_integer("num_seeds", 3, "number of seeds of each run", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "the first of them", lower_bound=0)
_CONFIGS = flags.DEFINE_string(
    "configs", str(Path(__file__).parents[1] / "configs" / "table2.py"), 'file with get_config("SYSTEM,DATA")'
)
_PROTOCOL = flags.DEFINE_enum("protocol", None, list(PROTOCOLS), "protocol, if another than the configs'")
_SPREAD = flags.DEFINE_enum("spread", None, names.SPREADS, "what ± is over; if not given, several seeds")
_TEST = flags.DEFINE_enum("test", "t", list(names.TESTS), "paired test over users")
_METRIC = flags.DEFINE_enum("metric", "ndcg", list(names.TESTED), "row in which the best system is tested")

Place = tuple[str, str]
"""(data set, system)"""


def main() -> None:
    """Run the command."""
    devices_for_seeds(_NUM_SEEDS.value)
    print(f"devices: {describe_devices()}", flush=True)
    folder, systems, seen = Path(_WORKDIR.value), _systems(), set[str]()
    configs = plan(data_sets_of(_DATA.value), systems)
    finished_before = {place: finished(folder.joinpath(*place), config) for place, config in configs.items()}
    done = {place: result for place, result in finished_before.items() if result}
    comparison.check_comparable(done)
    blocks = {data: block_of(data, done) for data, _ in configs}
    table = write_table(blocks, systems, spread_of(done))
    for number, (place, config) in enumerate(configs.items(), 1):
        if place not in done:
            run(config, folder.joinpath(*place), quiet=True, log=partial(say_once, seen))
            done[place] = comparison.read_result(folder.joinpath(*place))
            comparison.check_comparable(done)
            blocks[place[0]] = block_of(place[0], done)
            table = write_table(blocks, systems, spread_of(done))
        state = "was done" if finished_before[place] else "done"
        print(f"[{number}/{len(configs)}] {report(place, done[place])}, {state}", flush=True)
    table2_render.print_comparison(table)
    print(f"table2.md, table2.csv and table2.tex are in {_OUTPUT.value or folder}")


def _systems() -> list[str]:
    """Return the systems asked for, in the paper's order, and models of one's own behind them."""
    known = dict.fromkeys((*names.SYSTEMS, *model_names()))
    asked = {errors.pick(system, known, "system of --systems:") for system in _SYSTEMS.value}
    return [system for system in known if system in asked]


def plan(data_sets: dict[str, str], systems: list[str]) -> dict[Place, dict[str, Any]]:
    """Return the settings of every run, in the order in which they are trained.

    Raises:
      InputError: no data set or system, or one that has no config.
    """
    if not data_sets or not systems:
        raise InputError("--data and --systems must each name at least one")
    get_config = configs.get_config_of(_CONFIGS.value)
    return {
        (data, system): settings(get_config, data, path, system)
        for data, path in data_sets.items()
        for system in systems
    }


def settings(get_config: Callable[[str], Any], data: str, path: str, system: str) -> dict[str, Any]:
    """Return the settings of one run: those of the config, with the data, the seeds and what flags change."""
    config = configs.call(get_config, _CONFIGS.value, f"{system},{data}").to_dict()
    dataset, train = config.setdefault("dataset", {}), config.setdefault("train", {})
    if path:
        dataset |= {"name": "", "path": path, "split": "given"}
    else:
        split = dataset.get("split", "random")
        dataset |= {"name": data, "path": "", "split": "random" if split == "given" else split}
    if _PROTOCOL.value:
        dataset["protocol"] = _PROTOCOL.value
    config["seed"] = _SEED.value
    train["num_seeds"] = _NUM_SEEDS.value
    return config


def finished(folder: Path, config: dict[str, Any]) -> comparison.Result | None:
    """Return the result of a run that is done, None for one that is not.

    Raises:
      InputError: it is one of other settings.
    """
    if not (folder / "eval" / "test.json").exists():
        return None
    check_settings(folder, config)
    return comparison.read_result(folder)


def block_of(data: str, done: dict[Place, comparison.Result]) -> comparison.Block:
    """Return the block of a data set from what is done."""
    results = {system: result for (name, system), result in done.items() if name == data}
    return comparison.compare(
        data, results, tested=names.TESTED[_METRIC.value], spread=spread_of(done), method=_TEST.value
    )


def spread_of(done: dict[Place, comparison.Result]) -> str:
    """Return what the table's ± is over: as asked for; else seeds if there are several, or what the protocol says."""
    protocols = {result.metrics.protocol for result in done.values()}
    by_protocol = next((PROTOCOLS[name].spread for name in protocols), "seeds")
    return _SPREAD.value or ("seeds" if _NUM_SEEDS.value > 1 else by_protocol)


def write_table(blocks: dict[str, comparison.Block], systems: list[str], spread: str) -> table2_render.Comparison:
    """Write the table of what is done, and return it."""
    table = table2_render.Comparison(list(blocks.values()), systems, names.TESTED[_METRIC.value], spread, _TEST.value)
    table2_render.write(table, Path(_OUTPUT.value or _WORKDIR.value))
    return table


def report(place: Place, result: comparison.Result) -> str:
    """Return the line of one run."""
    data, system = place
    mean, _ = result.mean_and_std("NDCG", "seeds")
    return f"{data}, {comparison.system_label(system)}: {result.train_seconds:.0f} s, NDCG@{result.k} {mean:.2f}"


def say_once(seen: set[str], line: str) -> None:
    """Print a line that was not printed yet: every system on a data set has the same to tell of it."""
    if line not in seen:
        seen.add(line)
        print(line, flush=True)
