"""Popularity, ItemKNN and EASE, such as ``ease:DATA``: fitted on the host in seconds, without JAX's devices.

EASE's lambda is the one of five with the best validation NDCG@10. Measured on fixed splits, on two CPU cores:

| DATA | NDCG@10 on test: Popularity | EASE (lambda) |
| --- | --- | --- |
| ml-100k | 0.166 | 0.319 (300) |
| movielens-1m | 0.158 | 0.331 (1000) |
"""

from ml_collections import ConfigDict

from hlr_jax.configs.base import base_config, defaults
from hlr_jax.scorers.registry import SCORERS

MODELS = tuple(SCORERS)
SYSTEMS = (*SCORERS, "mf_als")
"""Baselines for any model; MF-ALS is a model with a recipe of its own."""


def get_config(model: str, data: str = "ml-100k") -> ConfigDict:
    """Return the settings for a scorer, and for data as in ``base.base_config``; the section ``train`` is empty."""
    config = base_config(data)
    config.model = ConfigDict({"name": model, **defaults(SCORERS[model])})
    config.train = ConfigDict()
    config.eval.monitor = "ndcg"
    return config
