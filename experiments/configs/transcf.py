"""TransCF (Park et al. 2018).

python experiments/train.py --config=experiments/configs/transcf.py:ml-100k --workdir=runs/transcf

On the fixed split of ml-100k about 26 s on one busy CPU core, NDCG@10 0.179 on validation: the best there of 9
settings of the regularizers, learning rate, margin and negatives; both regularizers off was best, by 0.001, one seed.
Not evaluated on test.
"""

from configs import cml
from ml_collections import ConfigDict


def get_config(data: str = "ml-100k") -> ConfigDict:
    """Return the settings for a data set."""
    config = cml.get_config(data)
    options = {"name": "transcf", "embed_dim": 100, "neighborhood_weight": 0.0, "distance_weight": 0.0}
    config.model = ConfigDict(options)
    config.train.update(num_epochs=80, patience=8)
    return config
