"""Growth: how times grow with H, N, D, the batch, users and items, one of them at a time."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from benchmarks.measuring import time_in_turn
from benchmarks.ranking import rankings, some_users
from benchmarks.settings import Settings, create_model, options_of, train_options, widened
from benchmarks.training import epochs

import hlr_jax
from hlr_jax.training import many_runs

DATA = "planted-1000x1000x10000"
USERS = 20  # that are ranked
# axis -> its letter in the records, the option behind it, and its values; the other axes use the first.
AXES: dict[str, tuple[str, tuple[int, ...]]] = {
    "H": ("max_history", (20, 10, 40, 80)),
    "N": ("num_memories", (20, 5, 10, 40)),
    "D": ("embed_dim", (64, 16, 32, 128)),
    "B": ("batch_size", (900, 100, 300, 3600)),
    "U": ("users", (1000, 4000, 16000, 64000)),
    "I": ("items", (1000, 2000, 4000, 8000)),
}


def bench_growth(
    settings: Settings, name: str, source: str = DATA, axes: dict[str, tuple[str, tuple[int, ...]]] | None = None
) -> Iterator[dict[str, Any]]:
    """Time epochs and rankings along each axis that a model has; the values of an axis in turn.

    The data is small and synthetic, since only growth matters. Its users have about 7 training interactions; histories
    are padded, and padding costs as much as real entries. Rows that ``U`` and ``I`` add to the tables have no
    interactions: the epoch stays as long. An axis begins with the value at which it stands while the others move, and
    every axis times that anew, so that what a record is compared with was measured beside it.
    """
    axes = AXES if axes is None else axes
    dataset, known = hlr_jax.load_dataset(source, log=lambda _: None), options_of(name)
    standing = {option: values[0] for option, values in axes.values() if option in known}
    batch = axes.get("B", ("", (900,)))[1][0]

    @cache
    def works(axis: str, option: str = "", value: int = 0) -> tuple[Callable[[], Any], Callable[[], Any]]:
        model = create_model(name, settings, **(standing | ({option: value} if option in known else {})))
        options = train_options(settings, batch_size=value if axis == "B" else batch)
        data = widened(dataset, **{option: value}) if axis in ("U", "I") else dataset
        ranking = rankings(data, model, some_users(dataset, min(USERS, settings.users)))
        return epochs(many_runs.create_learner(data, model, options, options.runs([0]))), ranking

    for axis, (option, values) in axes.items():
        if axis in "HND" and option not in known:
            continue
        training, ranking = {}, {}
        for value in values:
            # The common first value is compiled once; the first axis has that compile time.
            made = works(axis, option, value) if value != values[0] else works("")
            training[f"train {value}"] = made[0]
            if axis != "B":
                ranking[f"rank {value}"] = made[1]
        timings = time_in_turn(training | ranking, settings.repeats, settings.seconds)
        count, users = len(dataset.train), min(USERS, settings.users)
        for value in sorted(values):
            epoch, ranked = timings[f"train {value}"], timings.get(f"rank {value}")
            record: dict[str, Any] = {"what": "growth", "model": name, "axis": axis, "value": value}
            record |= {letter: numbers[0] for letter, (option, numbers) in axes.items() if option in known}
            record |= {"B": batch, "U": dataset.num_users, "I": dataset.num_items, axis: value}
            record |= {"us_per_positive": 1e6 * epoch.steady_s / count, **epoch.fields()}
            if ranked is not None:
                record |= {"us_per_user": 1e6 * ranked.steady_s / users, "rank_compile_s": ranked.compile_s}
                record |= {"rank_runs_s": ranked.fields()["runs_s"]}
            yield record
