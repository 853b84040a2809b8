"""CML (Hsieh et al. 2017).

python experiments/train.py --config=experiments/configs/cml.py:ml-100k --workdir=runs/cml

On ml-100k about 20 s on 2 CPU cores; NDCG@10 0.178 on validation and 0.315 on test. Chosen on the validation NDCG@10 of
fixed splits of that data among 14 settings of margin and negatives, as HLR's was.
"""

from configs.base import base_config
from ml_collections import ConfigDict


def get_config(data: str = "ml-100k") -> ConfigDict:
    """Return the settings for a data set."""
    config = base_config(data)
    config.model = ConfigDict({"name": "cml", "embed_dim": 100})
    config.train.update(num_epochs=100, patience=15, learning_rate=1e-3, margin=1.0, num_negatives=5)
    config.eval.monitor = "ndcg"
    return config
