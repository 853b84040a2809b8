"""TransCF (Park et al. 2018).

python experiments/train.py --config=experiments/configs/transcf.py:ml-100k --workdir=runs/transcf
"""

from configs import cml
from ml_collections import ConfigDict


def get_config(data: str = "ml-100k") -> ConfigDict:
    """Return the settings for a data set."""
    config = cml.get_config(data)
    options = {"name": "transcf", "embed_dim": 100, "neighborhood_weight": 0.0, "distance_weight": 0.0, "refresh": 1}
    config.model = ConfigDict(options)
    config.train.update(num_epochs=80, patience=8)
    return config
