"""What validation chose for the HetRec Last.fm artists.

python experiments/train.py --config=experiments/configs/recipes/lastfm_hetrec.py:hlr --workdir=runs/hlr \
    --config.dataset.path=../shared/data/splits/lastfm-hetrec.parquet --config.train.num_seeds=3

About three minutes on 2 CPU cores; NDCG@10 on test 0.311 (CML: 0.311, 40 s).
"""

from configs.recipes.default import tuned
from ml_collections import ConfigDict


def get_config(model: str = "hlr") -> ConfigDict:
    """Return the settings for a model, ``hlr``, ``hlrpp`` or ``cml``."""
    return tuned(model, temperature=0.35)
