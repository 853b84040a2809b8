"""HLR (Tran et al. 2021).

python experiments/train.py --config=experiments/configs/hlr.py:ml-100k --workdir=runs/hlr

On ml-100k about 75 s on 2 CPU cores; NDCG@10 0.176 on validation and 0.309 on test. Chosen on the validation NDCG@10 of
fixed splits of that data among some 25 settings of margin, learning rate, negatives, memories and history.
"""

from configs.base import base_config
from ml_collections import ConfigDict, config_dict


def get_config(data: str = "ml-100k") -> ConfigDict:
    """Return the settings for a data set."""
    config = base_config(data)
    config.model = ConfigDict(
        {
            "name": "hlr",
            "embed_dim": 100,
            "num_memories": 5,
            "max_history": 20,
            "history_sampling": "uniform",
            "variant": "paper",
            "project_memories": True,
            "memory_radius": config_dict.placeholder(float),
            "share_relation": False,
            "kernel": "xla",
        }
    )
    config.train.update(num_epochs=40, patience=6, learning_rate=2e-3, margin=1.0, num_negatives=5)
    config.eval.monitor = "ndcg"
    return config
