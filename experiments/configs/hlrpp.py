"""HLR++ (Tran et al. 2021), as released.

python experiments/train.py --config=experiments/configs/hlrpp.py:ml-100k --workdir=runs/hlrpp
"""

from configs import hlr
from ml_collections import ConfigDict


def get_config(data: str = "ml-100k") -> ConfigDict:
    """Return the settings for a data set: those of HLR, not searched for."""
    config = hlr.get_config(data)
    config.model.update(name="hlrpp", variant="reference")
    return config
