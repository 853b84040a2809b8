"""How good folded-in users, or items, are: held out of training whole, beside the same ones trained in.

Strong generalization (Marlin 2004): a share of the users is held out; most of their items are given, and the others
are to be found. Of items likewise: a share of them is held out, half of the users of each are given, and it is to be
found in the lists of the others: among all items, beside what these users have met in test, so that a model that shows
new items to everyone loses; and among the new items alone.

Two models are trained with the settings of one run: on the rest alone, into which what is held out is folded; and on
the same data with what is given.
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
"""What can be held out, and the share of its interactions that is given."""


def hold_out_users(
    dataset: Dataset, held_out: float = 0.1, given: float = GIVEN["users"], seed: int = 0
) -> tuple[Dataset, Dataset, Interactions]:
    """Hold a share ``held_out`` of the users out whole, and give a share ``given`` of each one's items.

    All interactions of the data set are used, whatever part they are in, of users with at least two; each held-out user
    has at least one item given and one to be found. Other users keep their training and validation interactions.

    Returns:
      The data set without those users, whose ``test`` holds what is to be found; the same with what is given of them in
      training; and what is given.

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
    """Hold a share ``held_out`` of the items out whole, and give a share ``given`` of the users of each.

    All interactions of the data set are used, whatever part they are in, of items with at least two; each held-out item
    has at least one user given and one in whose list it is to be found. Other items keep their interactions.

    Returns:
      The data set without those items; the same with them behind the others, what is given in training, and what is
      to be found in ``test``, beside the test interactions of other items; and what is given, in its codes.

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
    """Hold out some owners (``everything.user``): which [count]; what is given of them, and what is to be found."""
    check_range("strong_generalization", held_out=(held_out, 1e-6, 0.999), given=(given, 1e-6, 0.999))
    rng = np.random.default_rng(seed)
    degrees = everything.degrees(count)
    eligible = np.flatnonzero(degrees >= 2)
    chosen = round(held_out * len(eligible))
    if not chosen or chosen == len(eligible):
        raise InputError(f"{what} with two interactions: {len(eligible)}, too few to hold some out")
    is_held = np.isin(np.arange(count), rng.permutation(eligible)[:chosen])
    theirs = everything.where(is_held[everything.user])
    # Each owner's own random order: of n interactions, round(given * n) are given, but not none and not all.
    order = np.lexsort((rng.random(len(theirs)), theirs.user))
    size = degrees[theirs.user]
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - np.searchsorted(theirs.user, theirs.user)
    is_given = place < np.clip(np.rint(given * size), 1, size - 1)
    return is_held, theirs.where(is_given), theirs.where(~is_given)


def compare_folded_in(
    parts: RunParts, folder: Path, *, what: str = "users", held_out: float = 0.1, given: float | None = None,
    log: Callable[[str], None] = print,
) -> dict[str, Metrics]:  # fmt: skip
    """Train the two models of strong generalization and measure both on what is to be found of what was held out.

    Both choose their best epoch on the validation items of what stays, with every setting of the run.

    Args:
      parts: of a run: its data set, model and settings; each of its seeds is trained.
      folder: where the two models are kept; called again, they are not trained again.
      what: is held out, ``users`` or ``items``.
      held_out: share of them that is held out.
      given: share of their interactions that is given; None: that of ``GIVEN``.
      log: takes lines for people.

    Returns:
      The metrics of ``folded in``, ``trained in`` and ``Popularity``. Of items they are those of lists of the whole
      catalogue; those of lists of the held-out items alone are beside them, as ``folded in, among new items``.
    """
    of_users = pick(what, GIVEN, "part of the data to hold out") == "users"
    share, model = GIVEN[what] if given is None else given, require_model(parts.model, "--strong_generalization")
    hold_out = hold_out_users if of_users else hold_out_items
    without, trained_in, known = hold_out(parts.dataset, held_out, share, parts.seed)
    owners, total = (known.user, without.num_users) if of_users else (known.item, trained_in.num_items)
    log(f"{len(np.unique(owners)):,} of {total:,} {what} are held out, with {len(known):,} interactions that are given")
    folder = folder if of_users else folder / "items"

    options = parts.train.without_run()  # another run may know what is held out

    def trained(dataset: Dataset, name: str) -> list[FitResult]:
        return train_seeds(dataset, model, options, parts.eval, seed=parts.seed, workdir=folder / name)

    log("training without them:")
    strangers = trained(without, "without")
    log("training with what is given of them:")
    members = trained(trained_in, "trained_in")
    if of_users:
        return _of_users(parts, without, trained_in, known, strangers, members)
    return _of_items(parts, without, trained_in, known, strangers, members)


def _of_users(
    parts: RunParts, without: Dataset, trained_in: Dataset, known: Interactions, strangers: list[FitResult],
    members: list[FitResult],
) -> dict[str, Metrics]:  # fmt: skip
    def measured(ranker: Ranker) -> Metrics:
        return evaluate_ranker(ranker, trained_in, "test", parts.eval).metrics

    folded = [measured(_folding_ranker(parts, without, known, fit)) for fit in strangers]
    params, seeds = [fit.params for fit in members], [fit.seed for fit in members]
    inside = evaluate_seeds(parts.model, params, trained_in, "test", parts.eval, seeds)
    return {
        "folded in": over_seeds(folded, [fit.best_epoch for fit in strangers]),
        "trained in": over_seeds([evaluation.metrics for evaluation in inside], [fit.best_epoch for fit in members]),
        **_of_popularity(without, trained_in, parts.eval),
    }


def _of_items(
    parts: RunParts, without: Dataset, trained_in: Dataset, known: Interactions, strangers: list[FitResult],
    members: list[FitResult],
) -> dict[str, Metrics]:  # fmt: skip
    is_new = np.arange(trained_in.num_items) >= without.num_items
    test = trained_in.test
    to_find = replace(trained_in, test=test.where(is_new[test.item]))

    def among_new(params: Params, seed: int) -> Metrics:
        people = trained_population(parts.model, params, trained_in)
        k, limit = parts.eval.longest, parts.eval.memory_limit_mib
        lister = Lister(parts.model, people, trained_in, ItemChoice(is_new), k, memory_limit_mib=limit, seed=seed)
        return evaluate_ranker(lambda users, *_: lister.ranking(users), to_find, "test", parts.eval).metrics

    # Folded in, the rows of new items follow those of the others, as they do where they were trained in.
    folded = [_with_items(parts, without, trained_in, known, fit) for fit in strangers]
    sides = {"folded in": (folded, strangers), "trained in": ([fit.params for fit in members], members)}
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
    """Return the ranker that sees of the held-out users what is given, and nothing else."""
    training, limit = parts.train.at(fit.run.temperature), parts.eval.memory_limit_mib
    histories = _frame(dataset, given)
    people = fold_in(parts.model, fit.params, dataset, histories, training=training, seed=fit.seed)
    lister = Lister(parts.model, people, dataset, k=parts.eval.longest, memory_limit_mib=limit, seed=fit.seed)

    def ranker(users: np.ndarray, seen: Interactions, near: Interactions) -> Ranking:
        del seen, near  # what is given, and what folding in knows already
        return lister.ranking(people.index.find(dataset.user_ids.gather(users).cast(pl.String)))

    return ranker


def _with_items(parts: RunParts, dataset: Dataset, everyone: Dataset, given: Interactions, fit: FitResult) -> Params:
    """Return a model's parameters with the items folded in, of which users are given in the codes of ``everyone``."""
    by_item = given.transposed()  # in the order in which their rows are to stand
    pairs = _frame(everyone, Interactions(by_item.item, by_item.user))
    training, model = parts.train.at(fit.run.temperature), require_model(parts.model, "fold_in_items")
    return fold_in_items(model, fit.params, dataset, pairs, training=training, seed=fit.seed).params


def _frame(dataset: Dataset, pairs: Interactions) -> pl.DataFrame:
    """Return interactions by original ids."""
    return pl.DataFrame({"user": dataset.user_ids.gather(pairs.user), "item": dataset.item_ids.gather(pairs.item)})
