"""LRML (Tay et al. 2018).

python experiments/train.py --config=experiments/configs/lrml.py:ml-100k --workdir=runs/lrml
"""

from configs import cml
from ml_collections import ConfigDict


def get_config(data: str = "ml-100k") -> ConfigDict:
    """Return the settings for a data set."""
    config = cml.get_config(data)
    options = {"name": "lrml", "embed_dim": 100, "num_memories": 5}
    config.model = ConfigDict(options | {"project_memories": True, "share_relation": False})
    config.train.update(num_epochs=80, patience=8)
    return config
