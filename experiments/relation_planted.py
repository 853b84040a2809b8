"""Measure whether HLR finds planted relations in synthetic data, and what prevents it.

python experiments/relation_planted.py --seeds=0,1,2 --embed_dim=8

Items have a random value of each of two facets (such as a director and a genre). A user follows one of the facets and
has few items: four random ones, three more for training, and one each for valid and test. Each of the latter five
shares the value of that facet with one item that the user has: a relation to one item, of the user's preferred type.
CML and HLR are trained by the softmax of a positive and 40 random items; the positive is left out of the history. A
system is a model and a kind of p_u:

- ``table``: a free vector for each user; ``history``: the mean of x_j over the user's items, the positive left out;
  ``constant``: one fixed vector for all users.
- ``planted``: HLR with a table, started at a solution made by hand, with a fifth of the learning rate. Values are
  directions of three dimensions for each facet. The keys select one facet each, and a third key is constant. Memories
  move a user to all related items, through a dimension that all items share. A user's sign in another dimension
  selects the facet.

Each line of JSON has NDCG@10 on valid of the best epoch and on test. It also has the normalized mutual information of
two variables: the key with the largest weight for an item and its source, and the facet that relates them. The field
``shuffled`` is the same with permuted facets. The systems ``ease`` and ``known`` (with the true facet and values as
input) are for comparison.
"""

import json
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

from hlr_jax.cli.support.launch import launch
from hlr_jax.kernels.distance import project_to_ball, squared_distance
from hlr_jax.kernels.memory_attention import memory_attention
from hlr_jax.scorers.ease import ease_weights

_SEEDS = flags.DEFINE_list("seeds", ["0"], "seeds of the data and of each training")
_USERS = flags.DEFINE_integer("num_users", 4000, "number of users U")
_ITEMS = flags.DEFINE_integer("num_items", 200, "number of items I")
_VALUES = flags.DEFINE_integer("num_values", 20, "number of values of each facet")
_SYSTEMS = flags.DEFINE_list(
    "systems",
    ["cml:table", "cml:history", "hlr:table", "hlr:history", "hlr:constant", "hlr:planted"],
    "systems, each MODEL:USER",
)
_DIM = flags.DEFINE_integer("embed_dim", 8, "D of all systems")
_EPOCHS = flags.DEFINE_integer("num_epochs", 160, "epochs of each training")
_EVERY = flags.DEFINE_integer("every", 10, "epochs between two measurements")
_FACETS, _FREE, _RELATED, _K = 2, 4, 3, 10
_BATCH, _NEGATIVES, _POSITIVES, _TEMPERATURE, _RATE = 64, 40, 3, 0.2, 0.01
_Params = dict[str, jax.Array]


class PlantedData(NamedTuple):
    """Users' items in the order of sampling, with their sources.

    Attributes:
      items: [U, 4 + 3 + 2]: four random ones, three related ones, and those of valid and test.
      source: [U, 9], the item that each is related to; -1 for random ones.
      facet: [2, I], the value of each item.
      follows: [U], the facet of each user.
    """

    items: np.ndarray
    source: np.ndarray
    facet: np.ndarray
    follows: np.ndarray


def sample_data(seed: int, users: int, num_items: int, num_values: int) -> PlantedData:
    """Sample data of some users [U], items [I] and values of each facet."""
    rng = np.random.default_rng(seed)
    count = _FREE + _RELATED + 2
    facet = np.stack([rng.permutation(np.arange(num_items) % num_values) for _ in range(_FACETS)])
    alike = [[np.flatnonzero(facet[f] == value) for value in range(num_values)] for f in range(_FACETS)]
    follows = rng.integers(0, _FACETS, users)
    items, source = np.full((users, count), -1), np.full((users, count), -1)
    for user, f in enumerate(follows):
        place = 0
        while place < count:
            near = -1 if place < _FREE else rng.choice(items[user, :place])
            item = rng.integers(num_items) if near < 0 else rng.choice(alike[f][facet[f, near]])
            if item not in items[user]:
                items[user, place], source[user, place] = item, near
                place += 1
    return PlantedData(items, source, facet, follows)


def main() -> None:
    """Print a line of JSON for each system and seed."""
    for seed in map(int, _SEEDS.value):
        data = sample_data(seed, _USERS.value, _ITEMS.value, _VALUES.value)
        for name, scores in (("ease", _ease(data)), ("known", _known(data))):
            print(json.dumps({"seed": seed, "system": name, "test": _ndcg(scores, data, "test")}), flush=True)
        for system in _SYSTEMS.value:
            model, user = system.split(":")
            found = _trained(data, model, user, seed)
            row = {"seed": seed, "system": system, "embed_dim": _DIM.value}
            print(json.dumps(row | found), flush=True)


def _trained(data: PlantedData, model: str, user: str, seed: int) -> dict[str, float]:
    params = _planted(data, seed) if user == "planted" else _random(data, model, user, seed)
    fixed = ("user",) if user == "constant" else ()
    train = jnp.asarray(data.items[:, :-2])
    optimizer = optax.adam(_RATE / 5 if user == "planted" else _RATE)
    epoch = jax.jit(partial(_epoch, train, user, fixed, optimizer))
    state, key = optimizer.init(params), jax.random.key(seed)
    best = {"epoch": 0, "valid": 0.0}
    for number in range(1, _EPOCHS.value + 1):
        key, of_epoch = jax.random.split(key)
        params, state, loss = epoch(params, state, of_epoch)
        if number % _EVERY.value == 0:
            valid = _ndcg(_everything(params, user, data.items[:, :-2]), data, "valid")
            if valid > best["valid"]:
                test = _ndcg(_everything(params, user, data.items[:, :-1]), data, "test")
                best = {"epoch": number, "train_loss": float(loss), "valid": valid, "test": test}
                best |= _recovered(params, data, seed) if model == "hlr" else {}
    return best | {"last_valid": valid, "last_loss": float(loss)}


def _random(data: PlantedData, model: str, user: str, seed: int) -> _Params:
    dim, memories = _DIM.value, 4
    keys = iter(jax.random.split(jax.random.key(seed), 4))

    def normal(*shape: int) -> jax.Array:
        return jax.random.normal(next(keys), shape) / dim**0.5

    item = normal(len(data.facet[0]), dim)
    params = {"item": item}
    if user == "table":
        params["user"] = normal(len(data.items), dim)
    elif user == "history":
        params["source"] = item
    else:  # all items share a coordinate, and all users point toward it
        params = {"item": item.at[:, 0].set(0.5), "user": jnp.zeros((len(data.items), dim)).at[:, 0].set(0.3)}
    if model == "hlr":  # logits far enough from 0 for weights that differ
        params |= {"keys": 10 * normal(memories, dim), "memories": 0.3 * normal(memories, dim)}
        params["log_sharpness"] = jnp.float32(4.0)
    return params


def _planted(data: PlantedData, seed: int) -> _Params:
    dims, shared, length = (_DIM.value - 2) // _FACETS, 0.5, (0.75 / _FACETS) ** 0.5
    item = np.zeros((data.facet.shape[1], _DIM.value), np.float32)
    keys, memories = np.zeros((_FACETS + 1, _DIM.value), np.float32), np.zeros((_FACETS + 1, _DIM.value), np.float32)
    item[:, 0], keys[0, 0] = shared, 51 / shared**2
    rng = np.random.default_rng(seed)
    for f in range(_FACETS):
        own = slice(2 + f * dims, 2 + (f + 1) * dims)
        item[:, own] = length * _spread(rng, data.facet[f].max() + 1, dims)[data.facet[f]]
        keys[1 + f, own] = 60 / length**2
        memories[1 + f, :2] = 0.5, (0.3, -0.3)[f]
    user = np.zeros((len(data.items), _DIM.value), np.float32)
    user[:, 0], user[:, 1] = 0.1, np.where(data.follows == 0, 0.5, -0.5)
    arrays = {"item": item, "user": user, "keys": keys, "memories": memories, "log_sharpness": np.float32(4.0)}
    return {name: jnp.asarray(array) for name, array in arrays.items()}


def _spread(rng: np.random.Generator, values: int, dims: int) -> np.ndarray:
    """Return a direction for each value, far from each other: [values, dims]."""
    points = rng.normal(size=(values, dims))
    for _ in range(500):
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        apart = points[:, None] - points
        points += 0.02 * (apart / ((apart**2).sum(-1) + np.eye(len(points)))[..., None] ** 2).mean(axis=1)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def _scores(params: _Params, user: jax.Array, history: jax.Array, real: jax.Array, candidates: jax.Array) -> jax.Array:
    """Return the scores [C] of candidates, for p_u [D] and a history [H] with valid entries ``real`` [H]."""
    items, near = params["item"][candidates], params["item"][history]
    if "keys" not in params:
        return -squared_distance(user, items)

    def of_item(item: jax.Array) -> jax.Array:
        anchor = jnp.exp(params["log_sharpness"]) * user
        mixture = memory_attention(item, near, anchor, params["keys"], params["memories"], where=real).mixture
        return -squared_distance(user + mixture @ params["memories"], item)

    return jax.vmap(of_item)(items)


def _user(params: _Params, user: str, row: jax.Array, history: jax.Array, real: jax.Array) -> jax.Array:
    if user == "history":
        return real @ params["source"][history] / jnp.maximum(real.sum(), 1)
    return params["user"][row]


def _epoch(
    train: jax.Array, user: str, fixed: tuple[str, ...], optimizer: optax.GradientTransformation, params: _Params,
    state: optax.OptState, key: jax.Array,
) -> tuple[_Params, optax.OptState, jax.Array]:  # fmt: skip
    shuffled, sampled = jax.random.split(key)
    batches = jax.random.permutation(shuffled, len(train))[: len(train) // _BATCH * _BATCH].reshape(-1, _BATCH)

    def loss(params: _Params, rows: jax.Array, key: jax.Array) -> jax.Array:
        which, others = jax.random.split(key)
        negatives = jax.random.randint(others, (_NEGATIVES,), 0, len(params["item"]))
        places = jax.random.permutation(which, train.shape[1])[:_POSITIVES]

        def of_pair(row: jax.Array, place: jax.Array) -> jax.Array:
            history, real = train[row], jnp.arange(train.shape[1]) != place
            vector = _user(params, user, row, history, real)
            scores = _scores(params, vector, history, real, jnp.append(negatives, history[place])) / _TEMPERATURE
            known = jnp.append((negatives[:, None] == history).any(axis=1), False)
            return jax.nn.logsumexp(jnp.where(known, -jnp.inf, scores)) - scores[-1]

        return jax.vmap(lambda row: jax.vmap(partial(of_pair, row))(places))(rows).mean()

    def step(carry: tuple, batch: tuple[jax.Array, jax.Array]) -> tuple[tuple, jax.Array]:
        params, state = carry
        value, gradient = jax.value_and_grad(loss)(params, *batch)
        updates, state = optimizer.update(gradient, state, params)
        updates = {name: jnp.zeros_like(each) if name in fixed else each for name, each in updates.items()}
        params = optax.apply_updates(params, updates)
        balls = {name: project_to_ball(params[name]) for name in ("user", "item") if name in params}
        return (params | balls, state), value

    (params, state), losses = jax.lax.scan(step, (params, state), (batches, jax.random.split(sampled, len(batches))))
    return params, state, losses.mean()


def _everything(params: _Params, user: str, histories: np.ndarray) -> np.ndarray:
    """Return the scores [U, I] of all items."""

    @jax.jit
    def scores(params: _Params, histories: jax.Array) -> jax.Array:
        items, real = jnp.arange(len(params["item"])), jnp.ones(histories.shape[1], bool)

        def of_user(row: tuple[jax.Array, jax.Array]) -> jax.Array:
            return _scores(params, _user(params, user, *row, real), row[1], real, items)

        return jax.lax.map(of_user, (jnp.arange(len(histories)), histories), batch_size=64)

    return np.asarray(scores(params, jnp.asarray(histories)))


def _ndcg(scores: np.ndarray, data: PlantedData, split: str) -> float:
    """Return NDCG@10 of the one item that each user has in a split; the user's earlier items are left out."""
    place = data.items.shape[1] - (2 if split == "valid" else 1)
    left = np.array(scores, np.float64)
    np.put_along_axis(left, data.items[:, :place], -np.inf, axis=1)
    rank = (left > np.take_along_axis(left, data.items[:, [place]], axis=1)).sum(axis=1)
    return float(np.where(rank < _K, 1 / np.log2(rank + 2), 0).mean())


def _recovered(params: _Params, data: PlantedData, seed: int) -> dict[str, float]:
    user, place = np.nonzero(data.source >= 0)
    item, near = data.items[user, place], data.source[user, place]
    points = np.asarray(params["item"])
    key = ((points[item] * points[near]) @ np.asarray(params["keys"]).T).argmax(axis=1)
    facet = data.follows[user]
    shuffled = np.random.default_rng(seed).permutation(facet)
    return {"nmi": _mutual_information(key, facet), "shuffled": _mutual_information(key, shuffled)}


def _mutual_information(a: np.ndarray, b: np.ndarray) -> float:
    """Return I(a; b) over the mean of both entropies."""
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1 / len(a))

    def entropy(shares: np.ndarray) -> float:
        return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())

    of_a, of_b = entropy(joint.sum(axis=1)), entropy(joint.sum(axis=0))
    return 2 * (of_a + of_b - entropy(joint)) / max(of_a + of_b, 1e-12)


def _ease(data: PlantedData, strength: float = 100.0) -> np.ndarray:
    interactions = np.zeros((len(data.items), data.facet.shape[1]), np.float32)
    np.put_along_axis(interactions, data.items[:, :-2], 1, axis=1)
    weights = ease_weights(interactions.T @ interactions, strength)
    np.put_along_axis(interactions, data.items[:, [-2]], 1, axis=1)
    return interactions @ weights


def _known(data: PlantedData) -> np.ndarray:
    """Return how many items of the history share the value of the facet that the user follows."""
    values = data.facet[data.follows]
    of_history = np.take_along_axis(values, data.items[:, :-1], axis=1)
    counts = sum((values == of_history[:, [place]]).astype(float) for place in range(of_history.shape[1]))
    return counts + 0.1 * np.random.default_rng(0).random(counts.shape)


if __name__ == "__main__":
    launch(main)
