"""LRML (Tay et al. 2018).

python experiments/train.py --config=experiments/configs/lrml.py:ml-100k --workdir=runs/lrml

On the fixed split of ml-100k about 31 s on one busy CPU core, NDCG@10 0.182 on validation: the best there of 9
settings of memories, learning rate, margin and negatives, one seed. Not evaluated on test.
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
