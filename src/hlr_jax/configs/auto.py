"""``auto:DATA``: searches settings for the data, and blends several kinds of systems."""

from ml_collections import ConfigDict

from hlr_jax.auto_options import NAME, AutoOptions
from hlr_jax.configs.base import base_config, defaults


def get_config(data: str = "ml-100k") -> ConfigDict:
    """Return the settings, for data as in ``base.base_config``; the section ``train`` is empty."""
    config = base_config(data)
    config.model = ConfigDict({"name": NAME, **defaults(AutoOptions)})
    config.train = ConfigDict()
    config.mesh = ConfigDict()
    config.eval.monitor = "ndcg"
    return config
