"""How often items are recommended, beside how popular they are."""

from typing import NamedTuple

import numpy as np

from hlr_jax.data.dataset import Dataset
from hlr_jax.evaluation.evaluate import evaluate, selecting_users
from hlr_jax.report.facts.runs import RunFacts

_CURVE_POINTS = 120


class Exposure(NamedTuple):
    """The lists of one run and seed.

    Attributes:
      popularity: [I] training users of each item.
      shown: [I] lists that each item stands in.
      lists: how many lists there are.
    """

    popularity: np.ndarray
    shown: np.ndarray
    lists: int

    @property
    def never(self) -> int:
        """Items in no list."""
        return int((self.shown == 0).sum())

    def head(self, share: float = 0.1) -> tuple[float, float]:
        """Return what the most popular items, that ``share`` of all, have of training interactions and of places."""
        count = max(1, round(share * len(self.popularity)))
        top = np.argsort(-self.popularity, kind="stable")[:count]
        return _share(self.popularity, top), _share(self.shown, top)


def _share(values: np.ndarray, some: np.ndarray) -> float:
    return float(values[some].sum() / max(1, values.sum()))


def popularity_of(dataset: Dataset) -> np.ndarray:
    """Return the training users [I] of each item."""
    return dataset.train.item_degrees(dataset.num_items)


def exposure_of(run: RunFacts) -> Exposure:
    """Return the exposure in the lists that the figures of ``run.split`` are of, by its first seed."""
    parts, split = run.loaded.parts, run.split
    assert split is not None
    users = selecting_users(parts.dataset, parts.eval) if split == "valid" else None
    found = evaluate(
        parts.model, run.loaded.params[0], parts.dataset, split=split, options=parts.eval, seed=run.first_seed,
        users=users,
    )  # fmt: skip
    items = found.ranking.items
    shown = np.bincount(items[items >= 0], minlength=parts.dataset.num_items)
    return Exposure(popularity_of(parts.dataset), shown, len(items))


def lorenz(values: np.ndarray) -> list[tuple[float, float]]:
    """Return the Lorenz curve of values [I]: (share of items, the least first; their share of the sum).

    At most some hundred points of it.
    """
    sums = np.concatenate([[0.0], np.cumsum(np.sort(values).astype(np.float64))])
    places = np.unique(np.linspace(0, len(values), min(len(values), _CURVE_POINTS) + 1).round().astype(int))
    total = sums[-1] or 1.0
    return [(float(place / len(values)), float(sums[place] / total)) for place in places]
