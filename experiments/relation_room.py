"""Measure how much an attention over the history could add at most, from the best matches of the history.

python experiments/relation_room.py --auto=runs/auto/ml-100k,runs/auto/lastfm

Each --auto is the workdir of an ``auto`` run. Two of its parts score a user by the whole history: EASE (the sum of
B_jv) and CML with history users (the mean of x_j). A sharp attention scores by a few items of it instead. So the sum of
the best 1, 3 or 10 matches of a candidate in the history is added, standardized as in a blend, with a weight. A match
is the user cosine of two items, the cosine of their points q, 2 x_j . q_v or B_jv. Validation chooses match, number and
weight; test is measured once.

As in any blend, a match may add information that the base lacks. So the sum of all matches of the history is added in a
run of its own. The gain of the best matches over it is what an attention can add.

Each line of JSON: NDCG@10 on test of the base alone, with all matches and with the best, and the interval of the last
difference over users (95 %).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import flags
from relation_users import ndcg
from scipy.sparse import csr_array

import hlr_jax
from hlr_jax.cli.support.launch import launch
from hlr_jax.data.dataset import Dataset
from hlr_jax.evaluation.significance import paired_difference
from hlr_jax.ranking.scores import standardized
from hlr_jax.scorers.base import histories_of
from hlr_jax.scorers.item_knn import similarities
from hlr_jax.scorers.item_matrix import gram_matrix

_AUTO = flags.DEFINE_list("auto", None, "workdirs of auto runs", required=True)
_USERS = flags.DEFINE_integer("num_users", 3000, "maximum of users of valid, and of test")
_ALL = 0
_BEST = (1, 3, 10, _ALL)
_WEIGHTS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
_TILE = 64  # users


class Held(NamedTuple):
    """Users of a split: their histories [n, I], and their items in the split [n, I]."""

    histories: csr_array
    relevant: csr_array


def main() -> None:
    """Print a line of JSON for each data set and base."""
    for workdir in _AUTO.value:
        for row in _measured(Path(workdir)):
            print(json.dumps({"data": Path(workdir).name} | row), flush=True)


def _measured(folder: Path) -> Iterator[dict[str, object]]:
    runs = {label: hlr_jax.load_run(folder / "parts" / label, log=lambda line: None) for label in ("ease", "cml")}
    dataset, weights = runs["ease"].parts.dataset, np.asarray(runs["ease"].params[0]["weights"])
    cml = {name: np.asarray(array) for name, array in runs["cml"].params[0].items()}
    options = dict(runs["cml"].parts.model.options)
    splits = {split: _held(dataset, split) for split in ("valid", "test")}
    matches = _matches(dataset, cml, weights)
    for base in ("ease", "cml"):
        values = {}
        for split, held in splits.items():
            values[split] = _values(held, base, weights, cml, options["count_exponent"], matches)
        chosen = {
            name: max(some, key=lambda choice: values["valid"][choice].mean())
            for name, some in (
                ("alone", [choice for choice in values["valid"] if choice[2] == 0]),
                ("all", [choice for choice in values["valid"] if choice[1] == _ALL]),
                ("best", [choice for choice in values["valid"] if choice[1] != _ALL]),
            )
        }
        found = paired_difference(values["test"][chosen["best"]][None], values["test"][chosen["all"]][None])
        means = {f"{split}_{name}": values[split][chosen[name]].mean() for split in values for name in chosen}
        named = {name: chosen[name] for name in ("all", "best")}
        yield {"base": base, **named, **means, "difference": found.mean, "low": found.low, "high": found.high}


def _held(dataset: Dataset, split: str) -> Held:
    sizes = dataset.num_users, dataset.num_items
    known = [dataset.train] if split == "valid" else [dataset.train, dataset.valid]
    histories = sum(histories_of(each, *sizes) for each in known)
    relevant = histories_of(getattr(dataset, split), *sizes)
    users = np.flatnonzero(np.diff(relevant.indptr) * np.diff(histories.indptr))
    users = np.sort(np.random.default_rng(0).permutation(users)[: _USERS.value])
    return Held(histories[users], relevant[users])


def _matches(dataset: Dataset, cml: dict[str, np.ndarray], weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return the match of each item [I] of a history with each candidate [I], by name."""
    cosine = similarities(gram_matrix(dataset), shrink=0.0)
    unit = cml["item"] / np.linalg.norm(cml["item"], axis=1, keepdims=True)
    pairs = cml.get("source", cml["item"]) @ cml["item"].T
    return {"user cosine": cosine, "point cosine": unit @ unit.T, "2 x_j . q_v": pairs, "B_jv": weights}


def _values(
    held: Held, base: str, weights: np.ndarray, cml: dict[str, np.ndarray], exponent: float,
    matches: dict[str, np.ndarray],
) -> dict[tuple[str, int, float], np.ndarray]:  # fmt: skip
    """Return NDCG@10 of each user [n] for each match, number of best ones and weight."""
    choices = [(match, best, weight) for match in matches for best in _BEST for weight in _WEIGHTS]
    values: dict[tuple[str, int, float], list[np.ndarray]] = {choice: [] for choice in choices}
    for start in range(0, held.histories.shape[0], _TILE):
        histories, relevant = (each[start : start + _TILE] for each in held)
        whole = _whole(base, histories, weights, cml, exponent)
        seen, hits = histories.toarray() > 0, relevant.toarray() > 0
        for match, table in matches.items():
            for best, sums in zip(_BEST, _best_sums(histories, table), strict=True):
                for weight in _WEIGHTS:
                    scores = np.where(seen, -np.inf, whole + np.float32(weight) * sums)
                    values[match, best, weight].append(ndcg(scores, hits))
    return {choice: np.concatenate(each) for choice, each in values.items()}


def _whole(
    base: str, histories: csr_array, weights: np.ndarray, cml: dict[str, np.ndarray], exponent: float
) -> np.ndarray:
    """Return the standardized scores [n, I] by the whole history."""
    if base == "ease":
        return standardized(np.asarray(histories @ weights, np.float32))[0]
    counts = np.diff(histories.indptr)[:, None].astype(np.float32)
    users = (histories @ cml.get("source", cml["item"])) / counts**exponent
    return standardized(2 * users @ cml["item"].T - (cml["item"] ** 2).sum(axis=1))[0]


def _best_sums(histories: csr_array, table: np.ndarray) -> list[np.ndarray]:
    """Return the standardized sums [n, I] of each number of best matches."""
    sums = [np.empty(histories.shape, np.float32) for _ in _BEST]
    for row in range(histories.shape[0]):
        found = table[histories.indices[histories.indptr[row] : histories.indptr[row + 1]]]
        kept = min(max(_BEST), len(found))
        top = -np.sort(-np.partition(found, len(found) - kept, axis=0)[len(found) - kept :], axis=0)
        for each, best in zip(sums, _BEST, strict=True):
            each[row] = (found if best == _ALL else top[:best]).sum(axis=0)
    return [standardized(each)[0] for each in sums]


if __name__ == "__main__":
    launch(main)
