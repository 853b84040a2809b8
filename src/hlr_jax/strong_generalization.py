"""Measures folded-in users or items: they are held out of training entirely, and compared with training on them.

Strong generalization (Marlin 2004): a share of the users is held out. Most of their items are given, and the others are
the test items. For items it is analogous: a share of them is held out, and half of the users of each are given. The
lists of the other users are measured in two ways:

- among all items, together with the users' other test items, so that a model that shows new items to everyone loses;
- among the new items alone.

Two models are trained with the settings of one run: one without the held-out users or items, which are then folded in,
and one on the same data plus the given interactions.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from hlr_jax.data.dataset import Dataset
from hlr_jax.data.interactions import Interactions
from hlr_jax.errors import InputError, check_range, pick
from hlr_jax.evaluation.evaluate import Ranker, evaluate, evaluate_ranker, evaluate_seeds
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.evaluation.results import Metrics, over_seeds
from hlr_jax.experiment import RunParts
from hlr_jax.fitting.fit import FitResult, train_seeds
from hlr_jax.ranking.population import trained_population
from hlr_jax.scorers.popularity import Popularity
from hlr_jax.serving.choice import ItemChoice
from hlr_jax.serving.fold_in import fold_in, fold_in_items
from hlr_jax.serving.lists import Lister
from hlr_jax.systems import require_model
from hlr_jax.types import Params, Ranking

GIVEN = {"users": 0.8, "items": 0.5}
"""What can be held out, and the default share of given interactions."""


def hold_out_users(
    dataset: Dataset, held_out: float = 0.1, given: float = GIVEN["users"], seed: int = 0
) -> tuple[Dataset, Dataset, Interactions]:
    """Hold out a share ``held_out`` of the users entirely, with a share ``given`` of each one's items given.

    Users with at least two interactions, in any split, are eligible, and all their interactions are used. Each held-out
    user has at least one given item and one test item. Other users keep their training and validation interactions.

    Returns:
      The data set without those users, whose ``test`` has their test items; the same with their given items added to
      training; and the given interactions.

    Raises:
      InputError: a share out of range, or too few users.
    """
    everything = dataset.train + dataset.valid + dataset.test
    is_held, known, hidden = _divided(everything, dataset.num_users, held_out, given, seed, f"{dataset.name}: users")
    train, valid = (part.where(~is_held[part.user]) for part in (dataset.train, dataset.valid))
    without = replace(dataset, train=train, valid=valid, test=hidden)
    return without, replace(without, train=train + known), known


def hold_out_items(
    dataset: Dataset, held_out: float = 0.1, given: float = GIVEN["items"], seed: int = 0
) -> tuple[Dataset, Dataset, Interactions]:
    """Hold out a share ``held_out`` of the items entirely, with a share ``given`` of the users of each given.

    Items with at least two interactions, in any split, are eligible, and all their interactions are used. Each held-out
    item has at least one given user and one test user. Other items keep their interactions.

    Returns:
      The data set without those items. The same with them at the end: their given interactions are in training, and
      their test interactions in ``test``, together with those of other items. And the given interactions, in the codes
      of the second data set.

    Raises:
      InputError: a share out of range, or too few items.
    """
    by_item = (dataset.train + dataset.valid + dataset.test).transposed()
    is_held, known, hidden = _divided(by_item, dataset.num_items, held_out, given, seed, f"{dataset.name}: items")
    order = np.argsort(is_held, kind="stable")
    code, kept = np.argsort(order).astype(np.int32), int(np.sum(~is_held))

    def renumbered(part: Interactions) -> Interactions:
        item = code[part.item]
        by_user = np.lexsort([item, part.user])
        return Interactions(part.user[by_user], item[by_user])

    known, hidden = (renumbered(part.transposed()) for part in (known, hidden))
    splits = dataset.train, dataset.valid, dataset.test
    train, valid, test = (renumbered(part.where(~is_held[part.item])) for part in splits)
    ids, titles = dataset.item_ids.gather(order), dataset.titles
    trained_in = replace(
        dataset, train=train + known, valid=valid, test=test + hidden, item_ids=ids,
        titles=None if titles is None else titles[order],
    )  # fmt: skip
    fewer = None if titles is None else titles[order[:kept]]
    without = replace(trained_in, train=train, test=test, item_ids=ids[:kept], titles=fewer)
    return without, trained_in, known


def _divided(
    everything: Interactions, count: int, held_out: float, given: float, seed: int, what: str
) -> tuple[np.ndarray, Interactions, Interactions]:
    """Return which owners (``everything.user``) are held out [count], their given and their test interactions."""
    check_range("strong_generalization", held_out=(held_out, 1e-6, 0.999), given=(given, 1e-6, 0.999))
    rng = np.random.default_rng(seed)
    degrees = everything.degrees(count)
    eligible = np.flatnonzero(degrees >= 2)
    chosen = round(held_out * len(eligible))
    if not chosen or chosen == len(eligible):
        raise InputError(f"{what} with two interactions: {len(eligible)}; too few to hold out a share")
    is_held = np.isin(np.arange(count), rng.permutation(eligible)[:chosen])
    held_pairs = everything.where(is_held[everything.user])
    # Each owner has its own random order: of n interactions, round(given * n) are given, at least 1 and at most n - 1.
    order = np.lexsort((rng.random(len(held_pairs)), held_pairs.user))
    size = degrees[held_pairs.user]
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - np.searchsorted(held_pairs.user, held_pairs.user)
    is_given = place < np.clip(np.rint(given * size), 1, size - 1)
    return is_held, held_pairs.where(is_given), held_pairs.where(~is_given)


def compare_folded_in(
    parts: RunParts, folder: Path, *, what: str = "users", held_out: float = 0.1, given: float | None = None,
    log: Callable[[str], None] = print,
) -> dict[str, Metrics]:  # fmt: skip
    """Train the two models of strong generalization and measure both on the held-out test interactions.

    Both select their best epoch on the validation items of the remaining users or items, with all settings of the run.

    Args:
      parts: of a run: its data set, model and settings; each of its seeds is trained.
      folder: where the two models are stored; a second call does not train them again.
      what: what is held out, ``users`` or ``items``.
      held_out: share of users or items that is held out.
      given: share of their interactions that is given; None: that of ``GIVEN``.
      log: receives log lines.

    Returns:
      The metrics of ``folded in``, ``trained in`` and ``Popularity``. For items they are those of lists of the whole
      catalog; ``folded in, among new items`` and the like are those of lists of the held-out items alone.
    """
    of_users = pick(what, GIVEN, "part of the data to hold out") == "users"
    share, model = GIVEN[what] if given is None else given, require_model(parts.model, "--strong_generalization")
    hold_out = hold_out_users if of_users else hold_out_items
    without, trained_in, known = hold_out(parts.dataset, held_out, share, parts.seed)
    owners, total = (known.user, without.num_users) if of_users else (known.item, trained_in.num_items)
    log(f"{len(np.unique(owners)):,} of {total:,} {what} are held out, with {len(known):,} given interactions")
    folder = folder if of_users else folder / "items"

    options = parts.train.without_run()  # a start from another run would leak the held-out data

    def trained(dataset: Dataset, name: str) -> list[FitResult]:
        return train_seeds(dataset, model, options, parts.eval, seed=parts.seed, workdir=folder / name)

    log("training without them:")
    fits_without = trained(without, "without")
    log("training with their given interactions:")
    fits_with = trained(trained_in, "trained_in")
    if of_users:
        return _of_users(parts, without, trained_in, known, fits_without, fits_with)
    return _of_items(parts, without, trained_in, known, fits_without, fits_with)


def _of_users(
    parts: RunParts, without: Dataset, trained_in: Dataset, known: Interactions, fits_without: list[FitResult],
    fits_with: list[FitResult],
) -> dict[str, Metrics]:  # fmt: skip
    def measured(ranker: Ranker) -> Metrics:
        return evaluate_ranker(ranker, trained_in, "test", parts.eval).metrics

    folded = [measured(_folding_ranker(parts, without, known, fit)) for fit in fits_without]
    params, seeds = [fit.params for fit in fits_with], [fit.seed for fit in fits_with]
    inside = evaluate_seeds(parts.model, params, trained_in, "test", parts.eval, seeds)
    return {
        "folded in": over_seeds(folded, [fit.best_epoch for fit in fits_without]),
        "trained in": over_seeds([evaluation.metrics for evaluation in inside], [fit.best_epoch for fit in fits_with]),
        **_of_popularity(without, trained_in, parts.eval),
    }


def _of_items(
    parts: RunParts, without: Dataset, trained_in: Dataset, known: Interactions, fits_without: list[FitResult],
    fits_with: list[FitResult],
) -> dict[str, Metrics]:  # fmt: skip
    is_new = np.arange(trained_in.num_items) >= without.num_items
    test = trained_in.test
    to_find = replace(trained_in, test=test.where(is_new[test.item]))

    def among_new(params: Params, seed: int) -> Metrics:
        population = trained_population(parts.model, params, trained_in)
        k, limit = parts.eval.longest, parts.eval.memory_limit_mib
        lister = Lister(parts.model, population, trained_in, ItemChoice(is_new), k, memory_limit_mib=limit, seed=seed)
        return evaluate_ranker(lambda users, *_: lister.ranking(users), to_find, "test", parts.eval).metrics

    # When folded in, the rows of new items come after the others, as in the data set they are trained in.
    folded = [_with_items(parts, without, trained_in, known, fit) for fit in fits_without]
    sides = {"folded in": (folded, fits_without), "trained in": ([fit.params for fit in fits_with], fits_with)}
    result = {}
    for name, (params, fits) in sides.items():
        seeds, epochs = [fit.seed for fit in fits], [fit.best_epoch for fit in fits]
        whole = evaluate_seeds(parts.model, params, trained_in, "test", parts.eval, seeds)
        result[name] = over_seeds([evaluation.metrics for evaluation in whole], epochs)
        each = [among_new(own, seed) for own, seed in zip(params, seeds, strict=True)]
        result[f"{name}, among new items"] = over_seeds(each, epochs)
    return result | _of_popularity(trained_in, trained_in, parts.eval)


def _of_popularity(fitted_to: Dataset, measured_on: Dataset, options: EvalOptions) -> dict[str, Metrics]:
    popularity, counts = next(Popularity().fits(fitted_to))
    return {popularity.title: evaluate(popularity, counts, measured_on, options=options).metrics}


def _folding_ranker(parts: RunParts, dataset: Dataset, given: Interactions, fit: FitResult) -> Ranker:
    """Return the ranker that uses only the given interactions of the held-out users."""
    training, limit = parts.train.at(fit.run.temperature), parts.eval.memory_limit_mib
    histories = _frame(dataset, given)
    population = fold_in(parts.model, fit.params, dataset, histories, training=training, seed=fit.seed)
    lister = Lister(parts.model, population, dataset, k=parts.eval.longest, memory_limit_mib=limit, seed=fit.seed)

    def ranker(users: np.ndarray, seen: Interactions, near: Interactions) -> Ranking:
        del seen, near  # folding in already has the given interactions
        return lister.ranking(population.index.find(dataset.user_ids.gather(users).cast(pl.String)))

    return ranker


def _with_items(parts: RunParts, dataset: Dataset, full: Dataset, given: Interactions, fit: FitResult) -> Params:
    """Return a model's parameters with the items folded in; ``given`` has the codes of the data set ``full``."""
    by_item = given.transposed()  # in the order of their new rows
    pairs = _frame(full, Interactions(by_item.item, by_item.user))
    training, model = parts.train.at(fit.run.temperature), require_model(parts.model, "fold_in_items")
    return fold_in_items(model, fit.params, dataset, pairs, training=training, seed=fit.seed).params


def _frame(dataset: Dataset, pairs: Interactions) -> pl.DataFrame:
    """Return interactions by original ids."""
    return pl.DataFrame({"user": dataset.user_ids.gather(pairs.user), "item": dataset.item_ids.gather(pairs.item)})
