"""A few users: what they had, what each run recommends to them, and why."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from hlr_jax.data.dataset import Dataset
from hlr_jax.report.facts.runs import RunFacts
from hlr_jax.serving.explain import explain
from hlr_jax.serving.lists import known_interactions, recommend

QUANTILES = (0.1, 0.5, 0.9)
_LENGTH = 10


class SampleUser(NamedTuple):
    """A user of a data set.

    Attributes:
      user: the original id.
      history: titles of the known items (train and validation), the rarest first: those tell most of a taste.
      to_find: how many test items the user has.
    """

    user: object
    history: list[str]
    to_find: int


class Reason(NamedTuple):
    """An item of the history behind a recommendation: title, weight (alpha), and its memory key with its weight."""

    title: str
    weight: float
    memory: int | None
    memory_weight: float | None


class Listed(NamedTuple):
    """A recommendation: place, title, score, whether the test split has it, and what drove it, the heaviest first.

    ``neighbors`` is how many items of the history share the weight; 0 for a model that gives no reasons.
    """

    rank: int
    title: str
    score: float
    hit: bool
    reasons: list[Reason]
    neighbors: int


def sample_users(dataset: Dataset) -> list[SampleUser]:
    """Return users with few, the median number of, and many known items, and with test items where there are any."""
    known = known_interactions(dataset)
    degrees = known.degrees(dataset.num_users)
    found = dataset.test.degrees(dataset.num_users)
    eligible = np.flatnonzero((degrees > 0) & (found > 0) if len(dataset.test) else degrees > 0)
    ordered = eligible[np.argsort(degrees[eligible], kind="stable")]
    places = dict.fromkeys(round(quantile * (len(ordered) - 1)) for quantile in QUANTILES if len(ordered))
    popularity = known.item_degrees(dataset.num_items)
    users = []
    for code in ordered[list(places)]:
        items = known.item[known.user == code]
        rarest = items[np.argsort(popularity[items], kind="stable")]
        history = [dataset.title(int(item)) for item in rarest]
        users.append(SampleUser(dataset.user_ids[int(code)], history, int(found[code])))
    return users


def lists_for(run: RunFacts, users: Sequence[SampleUser], num_reasons: int = 2) -> list[list[Listed]]:
    """Return the recommendations of a run's first seed to each user, with reasons where the model gives them."""
    parts, params, seed = run.loaded.parts, run.loaded.params[0], run.first_seed
    dataset = parts.dataset
    best = recommend(
        parts.model, params, dataset, [one.user for one in users], k=min(_LENGTH, parts.eval.k),
        memory_limit_mib=parts.eval.memory_limit_mib, seed=seed,
    )  # fmt: skip
    tested = pl.DataFrame(
        {"user": dataset.user_ids.gather(dataset.test.user), "item": dataset.item_ids.gather(dataset.test.item)}
    ).with_columns(hit=pl.lit(True))
    best = best.join(tested, on=["user", "item"], how="left", maintain_order="left")
    lists = []
    for one in users:
        rows = best.filter(best["user"] == one.user)
        why = None
        if parts.model.history.drawn and len(rows):
            why = explain(parts.model, params, dataset, one.user, rows["item"].to_list(), seed=seed)
        lists.append([_listed(row, why, num_reasons) for row in rows.iter_rows(named=True)])
    return lists


def _listed(row: dict, why: pl.DataFrame | None, num_reasons: int) -> Listed:
    mine = None if why is None else why.filter(why["item"] == row["item"])
    reasons = [
        Reason(one["neighbor_title"], one["neighbor_weight"], one["memory"], one["memory_weight"])
        for one in ([] if mine is None else mine.head(num_reasons).iter_rows(named=True))
    ]
    count = 0 if mine is None else len(mine)
    return Listed(row["rank"], row["title"], row["score"], row["hit"] is not None, reasons, count)
