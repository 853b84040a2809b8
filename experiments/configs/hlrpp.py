"""HLR++ (Tran et al. 2021), as released.

python experiments/train.py --config=experiments/configs/hlrpp.py:ml-100k --workdir=runs/hlrpp
"""

from configs.base import base_config
from ml_collections import ConfigDict


def get_config(data: str = "ml-100k") -> ConfigDict:
    """Return the settings for a data set: those of HLR, not searched for."""
    config = base_config(data)
    config.model = ConfigDict(
        {
            "name": "hlrpp",
            "embed_dim": 100,
            "num_memories": 5,
            "max_history": 20,
            "history_sampling": "uniform",
            "variant": "reference",
            "project_memories": True,
        }
    )
    config.train.update(num_epochs=40, patience=6, learning_rate=2e-3, margin=1.0, num_negatives=5)
    config.eval.select_by = "ndcg"
    return config
