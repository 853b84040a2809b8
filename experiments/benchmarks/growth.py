"""Growth: how times grow with H, N, D, the batch, users and items, one of them at a time."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from benchmarks.measuring import Timing, time_in_turn
from benchmarks.ranking import rankings, some_users
from benchmarks.settings import Settings, create_model, options_of, train_options, widened
from benchmarks.training import epochs

import hlr_jax
from hlr_jax import Dataset, Model
from hlr_jax.data.interactions import Interactions
from hlr_jax.memory import available_memory
from hlr_jax.scorers.ease import Ease
from hlr_jax.training import many_runs
from hlr_jax.training.learner import GradientLearner

DATA = "planted-1000x1000x5000"
_COPIES = 8  # of the tables: parameters, gradients, two moments, those used in ranking, and temporaries
_LEFT_FREE = 0.2  # of the memory


@dataclass(frozen=True)
class Axis:
    """Values of one size, while the others are fixed.

    Attributes:
      letter: name of the size in records.
      option: that sets it: of the model, ``batch_size``, ``users`` or ``items``.
      values: the first one is used for other axes.
      at: sizes, by letter, that differ from those of other axes. Such a line is measured only for batches of triplets.
      ranked: number of users to rank for.
    """

    letter: str
    option: str
    values: tuple[int, ...]
    at: Mapping[str, int] = field(default_factory=dict)
    ranked: int = 20


@dataclass(frozen=True)
class Kind:
    """A kind of training step.

    Attributes:
      step_of: name in records.
      train: options of training.
      batch_sizes: values of the axis B, the default first; empty without batches.
      repeated: whether rows that axes add to tables have interactions: copies of the original ones.
      ranks: whether ranking is timed too.
    """

    step_of: str
    train: Mapping[str, Any] = field(default_factory=dict)
    batch_sizes: tuple[int, ...] = ()
    repeated: bool = False
    ranks: bool = True


AXES = (
    Axis("D", "embed_dim", (100, 25, 50, 200)),
    Axis("H", "max_history", (20, 5, 80)),
    Axis("N", "num_memories", (20, 5, 80)),
    Axis("U", "users", (10_000, 100_000, 1_000_000)),
    Axis("U", "users", (1_000_000, 10_000_000), at={"D": 16}),
    Axis("I", "items", (1_000, 10_000, 100_000, 1_000_000), ranked=2),
)
BATCHES = (
    Kind("triplets", {"batch": "triplets", "negatives": "per_triplet", "num_negatives": 1}, (900, 225, 3600)),
    Kind("users", {"batch": "users", "negatives": "per_user", "num_negatives": 64}, (225, 60, 900), ranks=False),
)
ITERATIONS = Kind("iteration", repeated=True)
EASE_ITEMS = (1_000, 2_000, 4_000, 8_000)

Records = Sequence[dict[str, Any]]


def bench_growth(
    settings: Settings,
    name: str,
    source: str = DATA,
    axes: Sequence[Axis] = AXES,
    ease_items: Sequence[int] = EASE_ITEMS,
) -> Iterator[dict[str, Any]]:
    """Time steps, then rankings, along each axis that a model has; the values of an axis in turn.

    Gradient models are trained with both kinds of batches. A step of MF-ALS is an iteration. EASE, the other closed
    form, is measured with it; its step is a fit.

    The data is small and synthetic, since only growth matters. Its users have about 4 training interactions; histories
    are padded, and padding costs as much as real entries. For gradient models, rows that ``U`` and ``I`` add to the
    tables have no interactions: an epoch has as many steps. For MF-ALS they have copies of the original interactions.
    ``slope`` is the exponent of the growth between the last two values. Sizes that exceed the memory are predicted.
    """
    dataset = hlr_jax.load_dataset(source, log=lambda _: None)
    solved = create_model(name, settings).solver is not None
    for kind in (ITERATIONS,) if solved else BATCHES:
        yield from _Growth(settings, name, kind, dataset, axes).records()
    if solved:
        yield from ease_growth(settings, dataset, ease_items)


class _Growth:
    """Measures the lines of one model with one kind of steps."""

    def __init__(self, settings: Settings, name: str, kind: Kind, dataset: Dataset, axes: Sequence[Axis]):
        known = options_of(name)
        own = [axis for axis in axes if axis.option in known or axis.option in ("users", "items")]
        if kind.batch_sizes:
            own.append(Axis("B", "batch_size", kind.batch_sizes))
        self._axes = [axis for axis in own if not axis.at or kind.step_of == "triplets"]
        self._settings, self._name, self._kind, self._dataset = settings, name, kind, dataset
        self._options = {axis.letter: axis.option for axis in own}
        self._default = {axis.letter: axis.values[0] for axis in own if not axis.at}
        self._made: dict[tuple[Any, ...], dict[str, Callable[[], Any]]] = {}

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the records of each axis."""
        for axis in self._axes:
            fitting = self._fitting(axis)
            works = {value: self._works(axis, value) for value in fitting}
            parts = ("train", "rank") if self._kind.ranks and axis.letter != "B" else ("train",)
            timings: dict[str, Timing] = {}
            for part in parts:  # not in turn: the system frees the tables of a training while the next work runs
                flat = {f"{part} {value}": works[value][part] for value in fitting}
                timings |= time_in_turn(flat, self._settings.repeats, self._settings.seconds)
            measured = [self._record(axis, value, timings) for value in fitting]
            yield from with_slopes(measured)
            for value in sorted(set(axis.values) - set(fitting)):
                yield predicted(measured[-1], value, 1) | {axis.letter: value}

    def _sizes(self, axis: Axis, value: int) -> dict[str, int]:
        return self._default | dict(axis.at) | {axis.letter: value}

    def _model(self, sizes: Mapping[str, int]) -> Model:
        known = options_of(self._name)
        chosen = {self._options[letter]: size for letter, size in sizes.items() if self._options[letter] in known}
        return create_model(self._name, self._settings, **chosen)

    def _fitting(self, axis: Axis) -> list[int]:
        """Return the values, increasing, whose tables fit in the memory together."""
        left = available_memory()
        fitting: list[int] = []
        for value in sorted(axis.values):
            sizes = self._sizes(axis, value)
            tables = _shapes(self._model(sizes), sizes["U"], sizes["I"])
            needed = _COPIES * sum(4 * math.prod(table.shape) for table in jax.tree.leaves(tables))
            if left is not None and fitting and needed > (1 - _LEFT_FREE) * left:
                break
            left = None if left is None else left - needed
            fitting.append(value)
        return fitting

    def _works(self, axis: Axis, value: int) -> dict[str, Callable[[], Any]]:
        """Return the works to time at one value: ``train``, and ``rank``.

        The common first values are compiled once; the first axis has that compile time.
        """
        sizes = self._sizes(axis, value)
        key = (*sizes.items(), axis.ranked)
        if key in self._made:
            return self._made[key]
        model = self._model(sizes)
        data = (repeated if self._kind.repeated else widened)(self._dataset, users=sizes["U"], items=sizes["I"])
        options = self._train_options(sizes)
        made = {"train": epochs(many_runs.create_learner(data, model, options, options.runs([0])))}
        made["rank"] = rankings(data, model, some_users(self._dataset, self._ranked(axis)))
        if sizes == self._default:
            self._made[key] = made
        return made

    def _train_options(self, sizes: Mapping[str, int]) -> hlr_jax.TrainOptions:
        batch = {"batch_size": sizes["B"]} if "B" in sizes else {}
        return train_options(self._settings, **(dict(self._kind.train) | batch))

    def _ranked(self, axis: Axis) -> int:
        return min(axis.ranked, self._settings.users)

    def _record(self, axis: Axis, value: int, timings: Mapping[str, Timing]) -> dict[str, Any]:
        sizes, epoch = self._sizes(axis, value), timings[f"train {value}"]
        steps = 1 if self._kind.repeated else self._steps(sizes)
        record = {
            "what": "growth", "model": self._name, "step_of": self._kind.step_of, "axis": axis.letter, "value": value,
            **sizes, "steps": steps, "us_per_step": 1e6 * epoch.steady_s / steps, **epoch.fields(),
        }  # fmt: skip
        if axis.at:
            record["at"] = ", ".join(f"{letter} = {size}" for letter, size in axis.at.items())
        if not self._kind.repeated:
            record["us_per_positive"] = 1e6 * epoch.steady_s / len(self._dataset.train)
        if (ranked := timings.get(f"rank {value}")) is not None:
            record["us_per_user"] = 1e6 * ranked.steady_s / self._ranked(axis)
            record |= {"rank_compile_s": ranked.compile_s, "rank_runs_s": ranked.fields()["runs_s"]}
        return record

    def _steps(self, sizes: Mapping[str, int]) -> int:
        """Return the steps of an epoch. Added rows of tables, and sizes of the model, do not change them."""
        options, data = self._train_options(sizes), self._dataset
        learner = GradientLearner(self._model(self._default), options, (data.num_users, data.num_items))
        groups = learner.source(data.train, data.train, data.train).groups
        return sum(-(-len(users) // options.batch_size) for users in groups)


def _shapes(model: Model, users: int, items: int) -> Any:
    return jax.eval_shape(lambda: model.init(jax.random.key(0), users, items))


def repeated(dataset: Dataset, users: int, items: int) -> Dataset:
    """Return the data with tables of about this many rows, all with interactions.

    Each pair of a user and an item is repeated for the copies of both: user + c U and item + d I, for all c and d.
    """
    copies = max(1, users // dataset.num_users), max(1, items // dataset.num_items)
    shift = [np.arange(count, dtype=np.int32) for count in copies]
    train = dataset.train
    user = (train.user + (shift[0] * dataset.num_users)[:, None, None]).repeat(copies[1], axis=1)
    item = (train.item + (shift[1] * dataset.num_items)[:, None])[None].repeat(copies[0], axis=0)
    order = np.lexsort((item.ravel(), user.ravel()))
    wide = widened(dataset, users=users, items=items)
    return dataclasses.replace(wide, train=Interactions(user.ravel()[order], item.ravel()[order]))


def ease_growth(settings: Settings, dataset: Dataset, items: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Time EASE's fit along I, and predict it for the size at which its matrix fills the memory."""
    ease = Ease(regularization=(300.0,))

    def fit(data: Dataset) -> Callable[[], np.ndarray]:
        return lambda: next(ease.fits(data)).state["weights"]

    works = {str(count): fit(widened(dataset, items=count)) for count in items}
    timings = time_in_turn(works, settings.repeats, settings.seconds)
    measured: list[dict[str, Any]] = [
        {
            "what": "growth", "model": ease.name, "step_of": "fit", "axis": "I", "value": count, "I": count,
            "us_per_step": 1e6 * timings[str(count)].steady_s, **timings[str(count)].fields(),
        }
        for count in items
    ]  # fmt: skip
    yield from with_slopes(measured)
    if (left := available_memory()) is not None:
        last = math.isqrt(left // (ease.bytes_needed(1000) // 1000**2))
        yield predicted(measured[-1], last, 3) | {"I": last, "ends": True}


def with_slopes(measured: Records) -> Records:
    """Return the records of a line, by increasing value, with the exponents of its growth between the last two."""
    slopes = {}
    for name, times in (("slope", "us_per_step"), ("rank_slope", "us_per_user")):
        if len(measured) > 1 and times in measured[-1]:
            grown, wider = (measured[-1][key] / measured[-2][key] for key in (times, "value"))
            slopes[name] = math.log(grown) / math.log(wider)
    return [record | slopes for record in measured]


def predicted(last: Mapping[str, Any], value: int, exponent: int) -> dict[str, Any]:
    """Return the record of a value that was not measured: the last one's time, extrapolated by the exponent."""
    kept = ("what", "model", "step_of", "axis", "at", *"DHNBUI")
    time = last["us_per_step"] * (value / last["value"]) ** exponent
    return {key: last[key] for key in kept if key in last} | {"value": value, "us_per_step": time, "predicted": True}
