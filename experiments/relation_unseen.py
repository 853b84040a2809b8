"""Measure whether a relation learns from positives that p_u was not fitted to; users and items are held fixed.

python experiments/relation_unseen.py --auto=runs/auto/ml-100k --ways=free,cross,als,history

Items are the points of a solved model, and --ways sets how users are made (``relation_users.py``). A relation r_uv is
added: the score is -b |p_u + r_uv - q_v|^2, trained by the softmax of a positive and --candidates random items. It
starts at zero. Memories are centered after each step, keys start with logits of standard deviation 2, and the sharpness
of the second attention and b are learned.

Each way is trained with three histories for comparison: ``own``; ``other``, that of another user; ``constant``, one
memory, so that r is the same for all pairs. With --relations=gated, r_vj is (w M) * q_j instead of w M: AdaCML's
relation with N gates.

Each line of JSON: the mean validation loss and NDCG@10 on valid of the best step, and NDCG@10 on test at that step.
``start`` is NDCG@10 on valid before any step.
"""

import json
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags
from relation_users import WAYS, Users, ndcg, users_of

from hlr_jax.cli.support.launch import launch
from hlr_jax.data.dataset import Dataset
from hlr_jax.scorers.base import histories_of

_AUTO = flags.DEFINE_list("auto", None, "workdirs of auto runs", required=True)
_WAYS = flags.DEFINE_list("ways", list(WAYS), "kinds of users")
_RELATIONS = flags.DEFINE_list("relations", ["memories", "gated"], "kinds of relations")
_HISTORIES = flags.DEFINE_list("histories", ["own", "other", "constant"], "histories that the relation reads")
_MEMORIES = flags.DEFINE_integer("num_memories", 4, "number of memories N")
_LENGTH = flags.DEFINE_integer("max_history", 10, "length of the history H")
_CANDIDATES = flags.DEFINE_integer("candidates", 64, "random items in addition to the positive; 0: all items")
_STEPS = flags.DEFINE_integer("steps", 600, "steps, of batch_size pairs each")
_BATCH = flags.DEFINE_integer("batch_size", 128, "pairs in a batch")
_EVERY = flags.DEFINE_integer("every", 150, "steps between two measurements")
_RATE = flags.DEFINE_float("learning_rate", 0.0003, "learning rate of Adam")
_SEED = flags.DEFINE_integer("seed", 0, "seed of all sampling")
_PAIRS, _USERS = 40_000, 2000
_Relation = dict[str, jax.Array]


def main() -> None:
    """Print a line of JSON for each training."""
    for folder in map(Path, _AUTO.value):
        for way in _WAYS.value:
            dataset, users = users_of(folder, way, _PAIRS, _LENGTH.value, _SEED.value)
            for relation in _RELATIONS.value:
                for history in _HISTORIES.value:
                    found = _trained(dataset, users, relation, history)
                    row = {"data": folder.name, "way": way, "relation": relation, "history": history}
                    print(json.dumps(row | {"seed": _SEED.value} | found), flush=True)


def _trained(dataset: Dataset, users: Users, relation: str, history: str) -> dict[str, float]:
    rng = np.random.default_rng(_SEED.value)
    items, rows = jnp.asarray(users.items), users.history
    if history == "other":
        rows = rows[rng.permutation(len(rows))]
    params = _start(users, rng, history)
    known = histories_of(dataset.train, dataset.num_users, dataset.num_items).toarray() > 0
    score = _scorer(items, relation)
    measure = {split: _measurement(dataset, users, split, score, history) for split in ("valid", "test")}
    optimizer = optax.adam(_RATE.value)

    def loss(params: _Relation, others: jax.Array, *pairs: jax.Array) -> jax.Array:
        def of_pair(user: jax.Array, near: jax.Array, positive: jax.Array, known: jax.Array) -> jax.Array:
            scores = score(params, user, near, jnp.append(others, positive))
            return jax.nn.logsumexp(jnp.where(jnp.append(known, False), -jnp.inf, scores)) - scores[-1]

        return jax.vmap(of_pair)(*pairs).mean()

    @jax.jit
    def step(params: _Relation, state: optax.OptState, *batch: jax.Array) -> tuple[_Relation, optax.OptState]:
        updates, state = optimizer.update(jax.grad(loss)(params, *batch), state, params)
        params = optax.apply_updates(params, updates)
        if history != "constant":
            params["memories"] -= params["memories"].mean(axis=0)
        return params, state

    state, best = optimizer.init(params), {"start": measure["valid"](params)[1], "valid": 0.0}
    for number in range(1, _STEPS.value + 1):
        some = rng.integers(0, len(users.pairs), _BATCH.value)
        others = rng.integers(0, len(items), _CANDIDATES.value) if _CANDIDATES.value else np.arange(len(items))
        batch = users.vectors[some], rows[some], users.pairs[some, 1], known[users.pairs[some, 0]][:, others]
        params, state = step(params, state, *map(jnp.asarray, (others, *batch)))
        if number % _EVERY.value == 0:
            nll, value = measure["valid"](params)
            if value > best["valid"]:
                best |= {"step": number, "valid_loss": nll, "valid": value, "test": measure["test"](params)[1]}
                best |= {name: float(jnp.exp(params[name])) for name in ("log_b", "log_sharpness")}
                best["memory"] = float(jnp.linalg.norm(params["memories"], axis=1).mean())
    return best


def _start(users: Users, rng: np.random.Generator, history: str) -> _Relation:
    count, dim = 1 if history == "constant" else _MEMORIES.value, users.items.shape[1]
    keys = rng.normal(size=(count, dim)).astype(np.float32)
    one, two = (users.items[rng.integers(0, len(users.items), 1000)] for _ in range(2))
    keys *= 2 / ((one * two) @ keys.T).std()
    lengths = np.linalg.norm(users.vectors, axis=1).mean()
    params = {"keys": keys, "memories": np.zeros_like(keys), "log_b": np.log(10.0 / lengths)}
    return {name: jnp.asarray(array) for name, array in params.items()} | {"log_sharpness": jnp.log(10.0 / lengths)}


def _scorer(items: jax.Array, relation: str) -> Callable[[_Relation, jax.Array, jax.Array, jax.Array], jax.Array]:
    """Return (parameters, p_u [D], history [H], candidates [C]) -> scores [C]."""

    def score(params: _Relation, user: jax.Array, near: jax.Array, candidates: jax.Array) -> jax.Array:
        q, x = items[candidates], items[near]
        # A candidate is never in its own history, in training or in ranking.
        real = (near[:, None] >= 0) & (near[:, None] != candidates)
        weights = jax.nn.softmax(jnp.einsum("hd,nd,cd->chn", x, params["keys"], q), axis=-1)
        if relation == "gated":
            along = (x * user) @ params["memories"].T  # p_u . (m_n * x_j)
            values = jnp.sum(weights * along, axis=-1)
        else:
            values = weights @ (params["memories"] @ user)
        alpha = jax.nn.softmax(jnp.exp(params["log_sharpness"]) * values, axis=1, where=real.T)
        if relation == "gated":
            moved = jnp.einsum("ch,chn,nd,hd->cd", alpha, weights, params["memories"], x)
        else:
            moved = jnp.einsum("ch,chn->cn", alpha, weights) @ params["memories"]
        return -jnp.exp(params["log_b"]) * jnp.sum((user + moved - q) ** 2, axis=1)

    return score


def _measurement(
    dataset: Dataset, users: Users, split: str, score: Callable, history: str
) -> Callable[[_Relation], tuple[float, float]]:
    """Return parameters -> (mean negative logarithm of a split's interactions, NDCG@10), for a sample of its users."""
    sizes = dataset.num_users, dataset.num_items
    known = histories_of(dataset.train, *sizes)
    near, seen = known, known if split == "valid" else known + histories_of(dataset.valid, *sizes)
    wanted = histories_of(getattr(dataset, split), *sizes)
    rng = np.random.default_rng(0)
    chosen = np.flatnonzero(np.diff(wanted.indptr) * np.diff(known.indptr))
    chosen = np.sort(rng.permutation(chosen)[:_USERS])
    rows = np.full((len(chosen), _LENGTH.value), -1)
    for place, user in enumerate(chosen if history != "other" else rng.permutation(chosen)):
        kept = rng.permutation(near[[user]].indices)[: _LENGTH.value]
        rows[place, : len(kept)] = kept
    vectors, places = jnp.asarray(users.whole[chosen]), jnp.asarray(rows)
    masked, hits = seen[chosen].toarray() > 0, wanted[chosen].toarray() > 0
    everything = jnp.arange(dataset.num_items)

    @jax.jit
    def scores_of(params: _Relation) -> jax.Array:
        return jax.lax.map(lambda row: score(params, *row, everything), (vectors, places))

    def measured(params: _Relation) -> tuple[float, float]:
        scores = np.where(masked, -np.inf, np.asarray(scores_of(params)))
        nll = np.logaddexp.reduce(scores, axis=1, keepdims=True) - scores
        return float(nll[hits & ~masked].mean()), float(ndcg(scores, hits).mean())

    return measured


if __name__ == "__main__":
    launch(main)
