"""CML (Hsieh et al. 2017).

python experiments/train.py --config=experiments/configs/cml.py:ml-100k --workdir=runs/cml
"""

from configs.base import base_config
from ml_collections import ConfigDict


def get_config(data: str = "ml-100k") -> ConfigDict:
    """Return the settings for a data set."""
    config = base_config(data)
    config.model = ConfigDict({"name": "cml", "embed_dim": 100})
    config.train.update(num_epochs=100, patience=15, learning_rate=1e-3, margin=1.0, num_negatives=5)
    config.eval.select_by = "ndcg"
    return config
