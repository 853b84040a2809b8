"""HLR++ (Tran et al. 2021); --config.model.variant=reference is the released code's.

python experiments/train.py --config=experiments/configs/hlrpp.py:ml-100k --workdir=runs/hlrpp

On the fixed split of ml-100k about 13 minutes on one busy CPU core, NDCG@10 0.179 on validation: the best there of 6
settings of variant, history and memories, one seed. Not evaluated on test.
"""

from configs import hlr
from ml_collections import ConfigDict


def get_config(data: str = "ml-100k") -> ConfigDict:
    """Return the settings for a data set."""
    config = hlr.get_config(data)
    options = {"name": "hlrpp", "variant": "paper", "max_item_users": 20, "item_users_sampling": "uniform"}
    config.model = ConfigDict(config.model.to_dict() | options | {"num_memories": 20})
    config.train.update(num_epochs=30, patience=5)
    return config
