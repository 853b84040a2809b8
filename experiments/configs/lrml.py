"""LRML (Tay et al. 2018).

python experiments/train.py --config=experiments/configs/lrml.py:ml-100k --workdir=runs/lrml
"""

from configs.base import base_config
from ml_collections import ConfigDict


def get_config(data: str = "ml-100k") -> ConfigDict:
    """Return the settings for a data set: those of CML, not searched for."""
    config = base_config(data)
    config.model = ConfigDict({"name": "lrml", "embed_dim": 100, "num_memories": 20, "project_memories": False})
    config.train.update(num_epochs=100, patience=15, learning_rate=1e-3, margin=1.0, num_negatives=5)
    config.eval.select_by = "ndcg"
    return config
