"""The authors' best hyperparameters, per model and data set of the paper (their `configs/` folder).

python experiments/repeat.py --config=experiments/configs/authors.py:hlr,movielens --workdir=runs/authors --seeds=1,2,3

Not reproduced: on Yelp (LRML, HLR, HLR++) and Amazon (HLR++) the authors measure the negative with the relation of
the positive.

With a file of fixed splits instead of the paper's data set, add:
--config.dataset.name= --config.dataset.split=given --config.dataset.path=FILE.parquet --config.train.num_epochs=50
"""

from typing import Any

from configs.base import base_config
from ml_collections import ConfigDict

# data set -> model -> (learning rate, margin).
_RATES = {
    "movielens": {
        "cml": (7.5e-4, 0.5), "lrml": (2e-4, 0.2), "adacml": (2e-4, 0.2), "hlr": (2e-4, 0.2), "hlrpp": (2e-4, 0.2),
    },
    "echonest": {
        "cml": (7.5e-4, 0.5), "lrml": (5e-4, 0.5), "adacml": (5e-4, 0.5), "hlr": (5e-4, 0.5), "hlrpp": (7.5e-4, 0.5),
    },
    "yelp": {
        "cml": (7.5e-4, 0.5), "lrml": (7.5e-4, 0.5), "adacml": (5e-4, 0.5), "hlr": (7.5e-4, 0.75),
        "hlrpp": (5e-4, 0.75),
    },
    "amazon": {
        "cml": (5e-4, 0.5), "lrml": (5e-4, 0.5), "adacml": (2e-4, 0.5), "hlr": (5e-4, 0.5), "hlrpp": (7.5e-4, 0.5),
    },
}  # fmt: skip
_ATTENDING = ("adacml", "hlr", "hlrpp")
_ADDRESSED = ("lrml", "hlr", "hlrpp")
# Where the attention's options are not a history of 50, drawn uniformly, with free keys and memories.
_SHORT = {"max_history": 5, "history_sampling": "inverse_popularity"}
_OTHER: dict[tuple[str, str], dict[str, Any]] = {
    ("yelp", "lrml"): {"project_memories": True},
    ("yelp", "hlr"): _SHORT | {"project_memories": True},
    ("yelp", "hlrpp"): _SHORT | {"project_memories": True},
    ("amazon", "lrml"): {"project_memories": True},
    ("amazon", "hlr"): {"project_memories": True},
    ("amazon", "hlrpp"): _SHORT | {"max_history": 10, "project_memories": True},
}
_NAMES = {"movielens": "ml-20m", "echonest": "echonest", "yelp": "yelp", "amazon": "amazon-books"}


def get_config(choice: str = "hlr,movielens") -> ConfigDict:
    """Return the settings for ``MODEL,DATA``: cml, lrml, adacml, hlr, hlrpp; movielens, echonest, yelp, amazon."""
    model, _, data = choice.partition(",")
    if data not in _RATES or model not in _RATES[data]:
        raise ValueError(f'no config "{choice}"; MODEL,DATA with models {list(_RATES["yelp"])} and data {list(_RATES)}')
    config = base_config(_NAMES[data])
    options: dict[str, Any] = {"name": model, "embed_dim": 100}
    if model in _ATTENDING:
        options |= {"max_history": 50, "history_sampling": "uniform"}
    if model in _ADDRESSED:
        options |= {"num_memories": 20, "project_memories": False}
    if model in ("hlr", "hlrpp"):
        options["variant"] = "reference"
    config.model = ConfigDict(options | _OTHER.get((data, model), {}))
    learning_rate, margin = _RATES[data][model]
    config.train.update(num_epochs=100, learning_rate=learning_rate, margin=margin)
    return config
