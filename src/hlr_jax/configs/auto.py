"""``auto:DATA``: what suits the data is found out, and several kinds of systems are blended."""

from ml_collections import ConfigDict

from hlr_jax.auto_options import NAME, AutoOptions
from hlr_jax.configs.base import base_config, defaults


def get_config(data: str = "ml-100k") -> ConfigDict:
    """Return the settings, for data as ``base.base_config`` takes it; of training it reads none."""
    config = base_config(data)
    config.model = ConfigDict({"name": NAME, **defaults(AutoOptions)})
    config.train = ConfigDict()
    config.mesh = ConfigDict()
    config.eval.monitor = "ndcg"
    return config
