"""Settings of metric models that train from random points or from the factors of MF-ALS, for fixed splits."""

from typing import Any

from hlr_jax.configs.tuned import DATA_SETS
from hlr_jax.errors import pick

STARTS = ("random", "als")
MODELS = ("cml", "history", "hlr", "hlrpp", "lrml", "adacml", "transcf")
"""``history`` is CML of ``model.user=history``."""

_MODEL_OPTIONS: dict[str, dict[str, Any]] = {
    "history": {"name": "cml", "user": "history", "count_exponent": 0.5},
    "hlr": {"num_memories": 4, "max_history": 10},
    "hlrpp": {"num_memories": 4, "max_history": 10, "max_item_users": 10},
    "lrml": {"num_memories": 5},
    "adacml": {"max_history": 10},
}
_CONFIDENCE_AND_REGULARIZATION = {
    "ml-100k": (10.0, 50.0), "lastfm-hetrec": (20.0, 50.0), "movielens-1m": (10.0, 100.0), "lastfm": (50.0, 5.0),
    "amazon-book": (20.0, 5.0), "citeulike-a": (50.0, 5.0),
}  # fmt: skip
_TRIPLETS = {"batch_size": 1000, "num_negatives": 63}
_USERS = {"batch": "users", "batch_size": 64, "negatives": "all"}  # for history users
_OF_START: dict[str, dict[str, Any]] = {
    "random": {"learning_rate": 5e-3, "ema_decay": 0.9, "num_epochs": 60, "patience": 5},
    "als": {"learning_rate": 3e-4, "warmup": 1.0, "ema_decay": 0.5, "num_epochs": 20, "patience": 3},
}


def config_of(split: str, model: str, start: str, embed_dim: int = 128, seed: int = 0) -> dict[str, Any]:
    """Return the settings of a training, as ``hlr_jax.run`` takes them.

    Raises:
      InputError: a split, a model or a start without settings here.
    """
    pick(split, _CONFIDENCE_AND_REGULARIZATION, "fixed split")
    pick(model, MODELS, "model")
    pick(start, STARTS, "start")
    options = {"name": model, "embed_dim": embed_dim} | _MODEL_OPTIONS.get(model, {})
    train = (_USERS if model == "history" else _TRIPLETS) | _OF_START[start]
    train |= {"start": start, "objective": "sampled_softmax", "temperature": DATA_SETS[split]["temperature"]}
    if start == "als":
        options |= {} if model == "history" else {"user_radius": 0.0}
        confidence, regularization = _CONFIDENCE_AND_REGULARIZATION[split]
        train |= {"start_confidence": confidence, "start_regularization": regularization}
    return {"model": options, "train": train, "eval": {"monitor": "ndcg"}, "seed": seed}
