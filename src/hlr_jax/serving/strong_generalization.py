"""How good folded-in users are: users held out of training whole, beside the same users trained in.

Strong generalisation (Marlin 2004): a share of the users is held out; most of their items are given, and the others
are to be found. Two models are trained with the settings of one run: on the other users alone, into which the held-out
users are folded; and on the same data with what is given of the held-out users.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from hlr_jax.data.dataset import Dataset
from hlr_jax.data.interactions import Interactions
from hlr_jax.errors import InputError, check_range
from hlr_jax.evaluation.evaluate import Evaluation, Ranker, evaluate, evaluate_ranker, evaluate_seeds
from hlr_jax.evaluation.results import Metrics, over_seeds
from hlr_jax.experiment import RunParts
from hlr_jax.scorers.popularity import Popularity
from hlr_jax.serving.fold_in import fold_in
from hlr_jax.serving.lists import Lister
from hlr_jax.serving.population import places_of
from hlr_jax.systems import require_model
from hlr_jax.training.fit import FitResult, train_seeds
from hlr_jax.types import Ranking


def hold_out_users(
    dataset: Dataset, held_out: float = 0.1, given: float = 0.8, seed: int = 0
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
    check_range("strong_generalization", held_out=(held_out, 1e-6, 0.999), given=(given, 1e-6, 0.999))
    rng = np.random.default_rng(seed)
    everything = dataset.train + dataset.valid + dataset.test
    degrees = np.bincount(everything.user, minlength=dataset.num_users)
    eligible = np.flatnonzero(degrees >= 2)
    count = round(held_out * len(eligible))
    if not count or count == len(eligible):
        raise InputError(f"{dataset.name} has {len(eligible)} users with two interactions: too few to hold some out")
    is_held = np.isin(np.arange(dataset.num_users), rng.permutation(eligible)[:count])
    theirs = everything.where(is_held[everything.user])
    # Each user's own random order: of n items, round(given * n) are given, but not none and not all.
    order = np.lexsort((rng.random(len(theirs)), theirs.user))
    size = degrees[theirs.user]
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - np.searchsorted(theirs.user, theirs.user)
    is_given = place < np.clip(np.rint(given * size), 1, size - 1)
    known, hidden = (theirs.where(mask) for mask in (is_given, ~is_given))
    stay = [part.where(~is_held[part.user]) for part in (dataset.train, dataset.valid)]
    without = replace(dataset, train=stay[0], valid=stay[1], test=hidden)
    return without, replace(without, train=stay[0] + known), known


def compare_folded_in(
    parts: RunParts, folder: Path, *, held_out: float = 0.1, given: float = 0.8, log: Callable[[str], None] = print
) -> dict[str, Metrics]:
    """Train the two models of strong generalisation and measure both on what is to be found of the held-out users.

    Both choose their best epoch on the validation items of the users who stay, with every setting of the run.

    Args:
      parts: of a run: its data set, model and settings; each of its seeds is trained.
      folder: where the two models are kept; called again, they are not trained again.
      held_out: share of the users that is held out.
      given: share of their items that is given.
      log: takes lines for people.

    Returns:
      The metrics of ``folded in``, ``trained in`` and ``Popularity``.
    """
    model, seed, options = require_model(parts.model, "--strong_generalization"), parts.seed, parts.eval
    without, trained_in, known = hold_out_users(parts.dataset, held_out, given, seed)
    log(
        f"{len(np.unique(known.user)):,} of {parts.dataset.num_users:,} users are held out; of their interactions "
        f"{len(known):,} are given and {len(without.test):,} are to be results"
    )
    log("training without them:")
    strangers = train_seeds(without, model, parts.train, options, seed=seed, workdir=folder / "without")
    log("training with what is given of them:")
    members = train_seeds(trained_in, model, parts.train, options, seed=seed, workdir=folder / "trained_in")

    def measured(ranker: Ranker) -> Evaluation:
        return evaluate_ranker(ranker, trained_in, "test", options)

    popularity, counts = next(Popularity().fits(without))
    seeds = [fit.seed for fit in members]
    folded = [measured(_folding_ranker(parts, without, known, fit)).metrics for fit in strangers]
    inside = evaluate_seeds(model, [fit.params for fit in members], trained_in, "test", options, seeds)
    return {
        "folded in": over_seeds(folded, [fit.best_epoch for fit in strangers]),
        "trained in": over_seeds([evaluation.metrics for evaluation in inside], [fit.best_epoch for fit in members]),
        popularity.title: evaluate(popularity, counts, trained_in, options=options).metrics,
    }


def _folding_ranker(parts: RunParts, dataset: Dataset, given: Interactions, fit: FitResult) -> Ranker:
    """Return the ranker that sees of the held-out users what is given, and nothing else."""
    user, item = dataset.user_ids.gather(given.user), dataset.item_ids.gather(given.item)
    histories = pl.DataFrame({"user": user, "item": item})
    training, limit = parts.train.at(fit.run.temperature), parts.eval.memory_limit_mib
    people = fold_in(parts.model, fit.params, dataset, histories, training=training, seed=fit.seed)
    lister = Lister(parts.model, people, dataset, k=parts.eval.longest, memory_limit_mib=limit, seed=fit.seed)

    def ranker(users: np.ndarray, seen: Interactions, near: Interactions) -> Ranking:
        del seen, near  # what is given, and what folding in knows already
        return lister.ranking(places_of(people.ids, dataset.user_ids.gather(users).cast(pl.String)))

    return ranker
