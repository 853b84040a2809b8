"""Makes user vectors that are not fitted to a positive, and item points, from the parts of an ``auto`` run."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

import hlr_jax
from hlr_jax.data.dataset import Dataset
from hlr_jax.evaluation.metrics import per_user_metrics
from hlr_jax.fitting.als_start import Factors, embedded
from hlr_jax.scorers.base import histories_of
from hlr_jax.systems import require_model

K = 10
WAYS = ("free", "cross", "als", "history")


class Users(NamedTuple):
    """Training data of a relation: pairs (u, v), with a user vector and a history for each.

    Attributes:
      items: [I, D], points q.
      pairs: [n, 2], codes of user and positive.
      vectors: [n, D], p_u of each pair, as the way makes it.
      history: [n, H], item codes of the user without the positive, sampled; padded with -1.
      whole: [U, D], p_u from all training items, for ranking.
    """

    items: np.ndarray
    pairs: np.ndarray
    vectors: np.ndarray
    history: np.ndarray
    whole: np.ndarray


def users_of(folder: Path, way: str, num_pairs: int, length: int, seed: int) -> tuple[Dataset, Users]:
    """Return the data of an ``auto`` run, and users of one way.

    - ``free``: p_u is solved from all of the user's items, the positive among them.
    - ``cross``: p_u is solved from one random half of the user's items, the positive and the history are of the other.
    - ``als``: p_u is solved from all items but the positive: A - (c - 1) y y^T is a change of rank one.
    - ``history``: p_u is the sum of x_j over all items but the positive, by n^a.

    Args:
      folder: workdir of the run.
      way: a name of ``WAYS``.
      num_pairs: number of sampled training pairs.
      length: H.
      seed: of pairs, halves and histories.
    """
    run = hlr_jax.load_run(folder / "parts" / ("cml" if way == "history" else "mf_als"), log=lambda line: None)
    dataset, params = run.parts.dataset, {name: np.asarray(array) for name, array in run.params[0].items()}
    rng = np.random.default_rng(seed)
    interactions = histories_of(dataset.train, dataset.num_users, dataset.num_items)
    half = rng.random(interactions.nnz) < 0.5
    counts = np.diff(interactions.indptr)
    user = np.repeat(np.arange(dataset.num_users), counts)
    if way == "history":
        items, options = params["item"], dict(run.parts.model.options)
        source, power = params.get("source", items), options["count_exponent"]
        sums = interactions @ source
        vectors = (sums[user] - source[interactions.indices]) / np.maximum(counts[user] - 1, 1)[:, None] ** power
        whole = sums / np.maximum(counts, 1)[:, None] ** power
    else:
        solver = require_model(run.parts.model, "this experiment").solver
        assert solver is not None
        table = params["item"].astype(np.float64)
        gram = table.T @ table + solver.regularization * np.eye(table.shape[1])
        solved, whole = (
            np.empty((interactions.nnz, table.shape[1]), np.float32),
            np.empty((len(counts), table.shape[1])),
        )
        for u in range(len(counts)):
            row = slice(interactions.indptr[u], interactions.indptr[u + 1])
            y = table[interactions.indices[row]]
            solved[row], whole[u] = _solved(gram, y, solver.confidence, way, half[row])
        whole, items = embedded(Factors(whole, table))
        vectors = np.pad(solved, ((0, 0), (0, 1)))
        scale = 1 / np.linalg.norm(whole, axis=1).mean()
        vectors, whole = vectors * scale, whole * scale
    chosen = np.flatnonzero(counts[user] > 3)
    chosen = np.sort(rng.permutation(chosen)[:num_pairs])
    history = np.full((len(chosen), length), -1)
    for place, pair in enumerate(chosen):
        places = np.arange(interactions.indptr[user[pair]], interactions.indptr[user[pair] + 1])
        places = places[(half[places] != half[pair]) if way == "cross" else (places != pair)]
        kept = rng.permutation(interactions.indices[places])[:length]
        history[place, : len(kept)] = kept
    pairs = np.stack([user[chosen], interactions.indices[chosen]], axis=1)
    return dataset, Users(
        items.astype(np.float32), pairs, vectors[chosen].astype(np.float32), history, whole.astype(np.float32)
    )


def _solved(gram: np.ndarray, y: np.ndarray, c: float, way: str, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a user's solution for each of its items y [n, D] as the positive [n, D], and from all of them [D]."""

    def ridge(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inverse = np.linalg.inv(gram + (c - 1) * rows.T @ rows)
        return inverse, inverse @ (c * rows.sum(axis=0))

    inverse, whole = ridge(y)
    if way == "cross":
        halves = [ridge(y[half])[1], ridge(y[~half])[1]]  # a positive of the first half is paired with the second
        return np.where(half[:, None], halves[1], halves[0]), whole
    if way == "free":
        return np.broadcast_to(whole, y.shape), whole
    # (A - (c - 1) y y^T)^-1 (b - c y), by Sherman and Morrison.
    along = y @ inverse
    left = whole - c * along
    gain = (c - 1) * (left * y).sum(axis=1) / (1 - (c - 1) * (along * y).sum(axis=1))
    return left + gain[:, None] * along, whole


def ndcg(scores: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Return NDCG@10 of each user [n], given scores [n, I] and which items are relevant [n, I], one at least."""
    top = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    return per_user_metrics(np.take_along_axis(hits, top, axis=1), hits.sum(axis=1), K)["ndcg"]
