"""How good folded-in users are: users held out of training whole, beside the same users trained in.

Strong generalisation (Marlin 2004): a share of the users is held out; most of their items are given, and the others
are to be found. Two models are trained with the settings of one run: on the other users alone, into which the held-out
users are folded; and on the same data with what is given of the held-out users.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from hlr_jax.data.csr import csr_of
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.interactions import Interactions
from hlr_jax.errors import InputError, check_range
from hlr_jax.evaluation.baselines import popularity_ranker
from hlr_jax.evaluation.evaluate import Evaluation, Ranker, evaluate_ranker, evaluate_seeds
from hlr_jax.evaluation.results import Metrics, over_seeds
from hlr_jax.experiment import RunParts
from hlr_jax.files import sha256_of
from hlr_jax.ranking.inputs import prepared_inputs
from hlr_jax.ranking.rank import Ranking, rank
from hlr_jax.serving.fold_in import FoldInOptions, fold_in
from hlr_jax.serving.population import places_of
from hlr_jax.training.fit import fit_seeds
from hlr_jax.types import Params


class Holdout(NamedTuple):
    """A data set divided by users.

    Attributes:
      without: training and validation interactions of the users who stay; ``test`` holds what is to be found.
      trained_in: the same, and what is given of the held-out users in training.
      users: [n], who is held out.
      given: their interactions that are given.
    """

    without: Dataset
    trained_in: Dataset
    users: np.ndarray
    given: Interactions


def hold_out_users(dataset: Dataset, held_out: float = 0.1, given: float = 0.8, seed: int = 0) -> Holdout:
    """Hold a share ``held_out`` of the users out whole, and give a share ``given`` of each one's items.

    All interactions of the data set are used, whatever part they are in, of users with at least two; each held-out user
    has at least one item given and one to be found. Other users keep their training and validation interactions.

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
    users = np.sort(rng.permutation(eligible)[:count])
    is_held = np.isin(np.arange(dataset.num_users), users)
    theirs = everything.where(is_held[everything.user])
    # Each user's own random order: of n items, round(given * n) are given, but not none and not all.
    order = np.lexsort((rng.random(len(theirs)), theirs.user))
    size = degrees[theirs.user]
    place = np.empty(len(order), np.int64)
    starts = np.cumsum(degrees[users]) - degrees[users]
    place[order] = np.arange(len(order)) - np.repeat(starts, degrees[users])
    is_given = place < np.clip(np.rint(given * size), 1, size - 1)
    known, hidden = (theirs.where(mask) for mask in (is_given, ~is_given))
    stay = [part.where(~is_held[part.user]) for part in (dataset.train, dataset.valid)]
    identity = [dataset.fingerprint, "strong generalization", held_out, given, seed]

    def divided(train: Interactions, name: str) -> Dataset:
        return replace(dataset, train=train, valid=stay[1], test=hidden, fingerprint=sha256_of([*identity, name]))

    return Holdout(divided(stay[0], "without"), divided(stay[0] + known, "trained in"), users, known)


def compare_folded_in(
    parts: RunParts,
    folder: Path,
    *,
    held_out: float = 0.1,
    given: float = 0.8,
    options: FoldInOptions | None = None,
    quiet: bool = False,
    log: Callable[[str], None] = print,
) -> dict[str, Metrics]:
    """Train the two models of strong generalisation and measure both on what is to be found of the held-out users.

    Both choose their best epoch on the validation items of the users who stay, with every setting of the run.

    Args:
      parts: of a run: its data set, model and settings; each of its seeds is trained.
      folder: where the two models are kept; called again, they are not trained again.
      held_out: share of the users that is held out.
      given: share of their items that is given.
      options: of folding in.
      quiet: show no progress.
      log: takes lines for people.

    Returns:
      The metrics of ``folded in``, ``trained in`` and ``Popularity``.
    """
    division = hold_out_users(parts.dataset, held_out, given, parts.seed)
    log(
        f"{len(division.users):,} of {parts.dataset.num_users:,} users are held out; of their interactions "
        f"{len(division.given):,} are given and {len(division.without.test):,} are to be results"
    )
    seeds = list(range(parts.seed, parts.seed + parts.train.num_seeds))
    fits = {}
    for name, dataset in (("without", division.without), ("trained_in", division.trained_in)):
        log(f"training {'without them' if name == 'without' else 'with what is given of them'}:")
        fits[name] = fit_seeds(
            dataset, parts.model, parts.train, parts.eval, seed=parts.seed, workdir=folder / name, quiet=quiet
        )

    def measured(ranker: Ranker) -> Evaluation:
        return evaluate_ranker(ranker, division.trained_in, "test", parts.eval)

    folded = [
        measured(
            _folding_ranker(
                parts._replace(train=parts.train.at(fit.run.temperature)), division, fit.params, options, seed
            )
        )
        for fit, seed in zip(fits["without"], seeds, strict=True)
    ]
    inside = evaluate_seeds(
        parts.model, [fit.params for fit in fits["trained_in"]], division.trained_in, "test", parts.eval, seeds
    )
    epochs = {name: [fit.best_epoch for fit in results] for name, results in fits.items()}
    popular = measured(popularity_ranker(division.without, max(parts.eval.ks)))
    return {
        "folded in": over_seeds([evaluation.metrics for evaluation in folded], epochs["without"]),
        "trained in": over_seeds([evaluation.metrics for evaluation in inside], epochs["trained_in"]),
        "Popularity": popular.metrics,
    }


def _folding_ranker(
    parts: RunParts, division: Holdout, params: Params, options: FoldInOptions | None, seed: int
) -> Ranker:
    """Return the ranker that sees of the held-out users what is given, and nothing else."""
    dataset = division.without
    ids = pl.DataFrame(
        {
            "user": dataset.user_ids.gather(division.given.user),
            "item": dataset.item_ids.gather(division.given.item),
        }
    )

    def ranker(users: np.ndarray, seen: Interactions, near: Interactions) -> Ranking:
        del seen, near  # what is given, and what folding in knows already
        people = fold_in(parts.model, params, dataset, ids, training=parts.train, options=options, seed=seed)
        places = places_of(people.ids, dataset.user_ids.gather(users).cast(pl.String))
        seen_rows = csr_of(people.met, people.params["user"].shape[0])
        inputs = prepared_inputs(seen_rows, people.sources, dataset.num_items, seed)
        k, limit = max(parts.eval.ks), parts.eval.memory_limit_mib
        return rank(parts.model, people.params, people.rows[places], inputs, k, limit)

    return ranker
