"""MF-ALS (Hu, Koren, Volinsky 2008): an epoch is one iteration of alternating least squares.

python experiments/train.py --config=experiments/configs/mf_als.py:ml-100k --workdir=runs/mf_als

On ml-100k some 20 s on 2 CPU cores, most of it compilation; NDCG@10 0.177 on validation and 0.293 on test (protocol
`reference` leaves validation items in its lists). The best on validation of 12 settings of D, confidence and
regularization.
"""

from configs.base import base_config
from ml_collections import ConfigDict


def get_config(data: str = "ml-100k") -> ConfigDict:
    """Return the settings for a data set."""
    config = base_config(data)
    config.model = ConfigDict(
        {
            "name": "mf_als",
            "embed_dim": 32,
            "confidence": 5.0,
            "regularization": 30.0,
            "frequency_exponent": 0.0,
            "solver": "cholesky",
            "cg_steps": 3,
        }
    )
    config.train.update(num_epochs=20, patience=4)
    config.eval.monitor = "ndcg"
    return config
