"""Are reasons true? What lists lose when the item that a reason names first is taken out of the history."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_type_hints

import numpy as np

from hlr_jax.data.dataset import Dataset
from hlr_jax.errors import InputError, OtherRunError, check_range
from hlr_jax.evaluation.significance import bootstrap_means, interval_of
from hlr_jax.json_files import read_json, write_json
from hlr_jax.provenance import check_maker, maker_of
from hlr_jax.ranking.population import trained_population
from hlr_jax.ranking.scores import ranked
from hlr_jax.serving.contributions import contributions
from hlr_jax.serving.deletion import drops_of
from hlr_jax.serving.explain import check_reasons
from hlr_jax.systems import System
from hlr_jax.types import Params

_FILE = "reasons.json"
_ROUNDING = 1e-3  # of the mean size of a drop
_FEWEST = 2  # training items of a user who is measured: one is left when another is taken out


@dataclass(frozen=True)
class ReasonQuality:
    """The quality of the reasons of a system, as means over users, of the items of each user's list.

    A drop is the loss of a score, compared with the mean of the catalogue, when an item of the history is deleted and
    the whole system scores again. Its unit is the standard deviation of the user's scores (``serving.deletion``).

    Attributes:
      users: that were measured.
      k: items of a list.
      top_drop: the drop without the item that is the largest reason.
      largest_drop: the drop without the item whose drop is the largest: what no reason can exceed.
      random_drop: the drop without a random item of the history: the mean over all of them.
      random_size: the mean |drop| over all items of the history. Where users are the mean of their items, or scores are
        standardized, drops and rises nearly cancel out in ``random_drop``, and not here.
      ratio: top_drop / random_drop; None where the latter is 0, but for rounding, or below.
      ratio_low, ratio_high: its interval at 95 %, by the percentile bootstrap over users.
      size_ratio: top_drop / random_size; None where nothing drops or rises.
      among_three: how often the largest reason is among the three largest drops.
      same_top: the share of pairs of items in a list that have the same largest reason.
      nothing: how often no item of the history stands out, so that a reason names none.
    """

    users: int
    k: int
    top_drop: float
    largest_drop: float
    random_drop: float
    random_size: float
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    size_ratio: float | None
    among_three: float
    same_top: float
    nothing: float

    def rows(self) -> list[tuple[str, str]]:
        """Return the values for people: the name of each, and its text with a unit."""
        ratio = size_ratio = "none: the denominator is 0"
        if self.ratio is not None:
            ratio = f"{self.ratio:.1f} ({self.ratio_low:.1f} to {self.ratio_high:.1f})"
        if self.size_ratio is not None:
            size_ratio = f"{self.size_ratio:.1f}"
        return [
            ("drop without the largest reason", f"{self.top_drop:.3f} SD"),
            ("largest drop without any one item of the history", f"{self.largest_drop:.3f} SD"),
            ("drop without a random item of the history", f"{self.random_drop:.3f} SD"),
            ("ratio to a random item's drop (95% interval)", ratio),
            ("ratio to the size of a random item's drop", size_ratio),
            ("largest reason is among the three largest drops", f"{self.among_three:.0%}"),
            ("pairs of items in a list with the same largest reason", f"{self.same_top:.0%}"),
            ("items for which nothing in the history stands out", f"{self.nothing:.0%}"),
        ]


def measure_reasons(
    model: System, params: Params, dataset: Dataset, *, num_users: int = 200, k: int = 10, seed: int = 0
) -> ReasonQuality:
    """Return how true a system's reasons are, over a random sample of users and their lists.

    Args:
      model: a model, a scorer or a blend that gives reasons.
      params: its parameters, or its state; of a blend, those of its parts by label.
      dataset: that it was trained on. Users with fewer than two training items are left out.
      num_users: of the sample, which is the same for every system of a data set; all, if there are not as many.
      k: items of a list.
      seed: of the draws of histories, as in ``recommend``.

    Raises:
      InputError: a model that gives no reasons, parameters of another model or data set or on a mesh, a number out of
        range, or a data set without such users.

    Example:
      >>> ease = hlr_jax.fit(data, "ease", quiet=True)
      >>> found = hlr_jax.measure_reasons(ease.model, ease.params, data, num_users=20, k=5)
      >>> found.users, found.top_drop > found.random_size, found.among_three > 0.9
      (20, True, True)
    """
    check_range("reasons", num_users=(num_users, 1, 10**9), k=(k, 1, 10**6))
    check_reasons(model, params)
    places = _sampled(dataset, num_users)
    population = trained_population(model, params, dataset)
    seen = population.histories(dataset.num_items)
    targets = ranked(model, population, places, dataset.num_items, k, seen=seen, seed=seed).items
    full = (targets >= 0).all(axis=1)  # a user who has met nearly everything has a shorter list
    if not full.any():
        raise InputError(f"reasons: no user has {k} items left to recommend; pass a smaller k")
    places, targets = places[full], targets[full]
    found = list(contributions(model, population, dataset, places, targets, seed))
    if not any(len(each.items) for each in found):
        raise InputError(f"{model.title} reads no history, so it gives no reasons to measure")
    drops = drops_of(model, population, dataset, places, targets, found, seed)
    return quality_of(
        ((each.values, drop, each.stands_out) for each, drop in zip(found, drops, strict=True)), seed=seed
    )


def write_reasons(workdir: Path, found: ReasonQuality) -> None:
    """Write figures to ``eval/reasons.json`` of a run, beside what tells the run from others."""
    write_json(workdir / "eval" / _FILE, {"made_by": maker_of(workdir)} | asdict(found))


def read_reasons(workdir: Path) -> ReasonQuality | None:
    """Return the figures of a run; None if there are none, or if they are of another run than the one there now.

    Raises:
      InputError: the file does not read.
    """
    path = workdir / "eval" / _FILE
    if not path.exists():
        return None
    kinds = get_type_hints(ReasonQuality)
    record = read_json(path, kinds | {"made_by": str}, "measure again with hlr-jax evaluate --reasons")
    try:
        check_maker(path, record["made_by"], workdir)
    except OtherRunError:
        return None
    return ReasonQuality(**{name: record[name] for name in kinds})


def _sampled(dataset: Dataset, num_users: int) -> np.ndarray:
    """Return the codes of a random sample of users, increasing."""
    eligible = np.flatnonzero(dataset.train.degrees(dataset.num_users) >= _FEWEST)
    if not len(eligible):
        raise InputError(f"reasons: no user has {_FEWEST} training items")
    return np.sort(np.random.default_rng(0).permutation(eligible)[:num_users])


def quality_of(users: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], seed: int = 0) -> ReasonQuality:
    """Return the figures of users, of whom each has contributions, drops and what stands out, all [H, K].

    Args:
      users: H may differ between them.
      seed: of the bootstrap.

    Example:
      >>> values, drops = np.array([[3.0, 0.0], [1.0, 2.0]]), np.array([[2.0, 0.5], [0.0, 1.5]])
      >>> found = quality_of([(values, drops, values > 2)])
      >>> found.top_drop, found.random_drop, found.ratio, found.same_top, found.nothing
      (1.75, 1.0, 1.75, 0.0, 0.5)
    """
    rows, k = [], 0
    for values, drops, stands_out in users:
        k = values.shape[1]
        top = values.argmax(axis=0)
        of_top = np.take_along_axis(drops, top[None], axis=0)[0]
        rank = (drops > of_top).sum(axis=0)
        one, other = np.triu_indices(len(top), 1)
        rows.append(
            [
                of_top.mean(), drops.mean(), drops.max(axis=0).mean(), np.abs(drops).mean(), (rank < 3).mean(),
                (top[one] == top[other]).mean() if len(one) else 0.0, (~stands_out.any(axis=0)).mean(),
            ]
        )  # fmt: skip
    figures = np.array(rows)
    top_drop, random_drop, largest_drop, random_size, among_three, same_top, nothing = figures.mean(axis=0).tolist()
    resampled = bootstrap_means(figures[:, :2], seed)
    ratio = low = high = None
    if resampled[:, 1].min() > _ROUNDING * random_size:
        ratio = top_drop / random_drop
        low, high = map(float, interval_of(resampled[:, 0] / resampled[:, 1]))
    size_ratio = top_drop / random_size if random_size else None
    drops_found = top_drop, largest_drop, random_drop, random_size
    return ReasonQuality(len(rows), k, *drops_found, ratio, low, high, size_ratio, among_three, same_top, nothing)
