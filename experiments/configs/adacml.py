"""AdaCML (Zhang et al. 2019).

python experiments/train.py --config=experiments/configs/adacml.py:ml-100k --workdir=runs/adacml

On the fixed split of ml-100k about 98 s on one busy CPU core, NDCG@10 0.184 on validation: the best there of 9
settings of history, learning rate, margin and negatives, one seed. Not evaluated on test.
"""

from configs import cml
from ml_collections import ConfigDict


def get_config(data: str = "ml-100k") -> ConfigDict:
    """Return the settings for a data set."""
    config = cml.get_config(data)
    config.model = ConfigDict({"name": "adacml", "embed_dim": 100, "max_history": 50, "history_sampling": "uniform"})
    config.train.update(num_epochs=80, patience=8)
    return config
