"""AdaCML (Zhang et al. 2019).

python experiments/train.py --config=experiments/configs/adacml.py:ml-100k --workdir=runs/adacml
"""

from configs.base import base_config
from ml_collections import ConfigDict


def get_config(data: str = "ml-100k") -> ConfigDict:
    """Return the settings for a data set: those of CML, not searched for."""
    config = base_config(data)
    config.model = ConfigDict({"name": "adacml", "embed_dim": 100, "max_history": 20, "history_sampling": "uniform"})
    config.train.update(num_epochs=100, patience=15, learning_rate=1e-3, margin=1.0, num_negatives=5)
    config.eval.select_by = "ndcg"
    return config
