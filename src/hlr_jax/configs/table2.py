"""The settings of each system of Table 2 on the four fixed splits that replace the paper's data sets.

hlr-jax table2 --workdir=runs/table2 --num_seeds=2 --spread=seeds \
    --data=movielens-1m=$SPLITS/movielens-1m.parquet,lastfm=$SPLITS/lastfm.parquet,...

Expected time and metrics: docs/results/table2/table2.md. All systems have one budget: D = 50, H = 10 (5 on yelp),
N = 5, 4 negatives of which the hardest counts, batches of 2,000, few epochs, and the best epoch by validation NDCG@10.
Learning rates, and the strength and confidence of MF-ALS, are the best on `valid` of those in docs/results/findings.md.
Other data sets use the settings of `lastfm`. To use another file like this one, pass --configs=FILE.py; it sets
everything but the data and the seeds.
"""

from typing import Any

from ml_collections import ConfigDict

from hlr_jax.configs import baselines
from hlr_jax.configs.base import base_config

_ATTENTION = {"max_history": 10, "history_sampling": "uniform"}
_MEMORIES = {"num_memories": 5, "project_memories": True, "share_relation": False}
_MODELS: dict[str, dict[str, Any]] = {
    "mf_als": {"frequency_exponent": 0.0, "solver": "cholesky"},
    "cml": {},
    "lrml": _MEMORIES,
    "transcf": {"neighborhood_weight": 0.1, "distance_weight": 0.1},
    "adacml": _ATTENTION,
    "hlr": _MEMORIES | _ATTENTION | {"variant": "paper"},
    "hlrpp": _MEMORIES | _ATTENTION | {"variant": "reference"},
}
# data set -> confidence and regularization of MF-ALS; most epochs; learning rates.
_STRENGTHS = {
    "movielens-1m": (20.0, 100.0),
    "lastfm": (50.0, 100.0),
    "yelp": (20.0, 100.0),
    "amazon-book": (20.0, 100.0),
}
_EPOCHS = {"movielens-1m": 16, "lastfm": 16, "yelp": 5, "amazon-book": 10}
_RATES = {"movielens-1m": 4e-3, "lastfm": 8e-3, "yelp": 4e-3, "amazon-book": 4e-3}
_OTHER_RATES = {("lastfm", "adacml"): 4e-3, ("lastfm", "transcf"): 4e-3}
CHOICES = [f"{system},{data}" for data in _RATES for system in (*baselines.MODELS, *_MODELS)]


def get_config(choice: str = "hlr,lastfm") -> ConfigDict:
    """Return the settings for ``SYSTEM,DATA``."""
    system, _, data = choice.partition(",")
    if system in baselines.MODELS:
        return baselines.get_config(system, "split")
    if system not in _MODELS:
        raise ValueError(f'no config "{choice}"; pass SYSTEM,DATA with a system of {[*baselines.MODELS, *_MODELS]}')
    data = data if data in _RATES else "lastfm"
    config = base_config("split")
    options: dict[str, Any] = {"name": system, "embed_dim": 50} | _MODELS[system]
    if system == "mf_als":
        confidence, regularization = _STRENGTHS[data]
        options |= {"confidence": confidence, "regularization": regularization}
    if data == "yelp" and "max_history" in options:
        options |= {"max_history": 5}
    config.model = ConfigDict(options)
    config.train.update(
        num_epochs=_EPOCHS[data],
        patience=3,
        batch_size=2000,
        learning_rate=_OTHER_RATES.get((data, system), _RATES[data]),
        margin=1.0,
        num_negatives=4,
        checkpoint_every=100,
    )
    config.eval.update(monitor="ndcg", num_valid_users=1000)
    return config
