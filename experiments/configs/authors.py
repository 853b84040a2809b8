"""The authors' best hyperparameters, per model and data set of the paper (their `configs/` folder).

python experiments/repeat.py --config=experiments/configs/authors.py:hlr,movielens --workdir=runs/authors --seeds=1,2,3

With a file of fixed splits instead of the paper's data set, add:
--config.dataset.name= --config.dataset.split=given --config.dataset.path=FILE.parquet --config.train.num_epochs=50
"""

from configs.base import base_config
from ml_collections import ConfigDict

# data set here -> (learning rate, margin) by model, and the attention's options.
_RATES = {
    "movielens": {"cml": (7.5e-4, 0.5), "hlr": (2e-4, 0.2)},
    "echonest": {"cml": (7.5e-4, 0.5), "hlr": (5e-4, 0.5)},
    "yelp": {"cml": (7.5e-4, 0.5), "hlr": (7.5e-4, 0.75)},
    "amazon": {"cml": (5e-4, 0.5), "hlr": (5e-4, 0.5)},
}
_HISTORIES = {"yelp": {"max_history": 5, "history_sampling": "inverse_popularity", "project_memories": True}}
_HISTORIES["amazon"] = {"project_memories": True}
_NAMES = {"movielens": "ml-20m", "echonest": "echonest", "yelp": "yelp", "amazon": "amazon-books"}


def get_config(choice: str = "hlr,movielens") -> ConfigDict:
    """Return the settings for ``MODEL,DATA``: models cml, hlr; data movielens, echonest, yelp, amazon."""
    model, _, data = choice.partition(",")
    if data not in _RATES or model not in _RATES[data]:
        raise ValueError(f'no config "{choice}"; MODEL,DATA with models {list(_RATES["yelp"])} and data {list(_RATES)}')
    config = base_config(_NAMES[data])
    config.model = ConfigDict({"name": model, "embed_dim": 100})
    if model == "hlr":
        options = {"max_history": 50, "history_sampling": "uniform", "project_memories": False}
        config.model.update({"num_memories": 20, "variant": "reference"} | options | _HISTORIES.get(data, {}))
    learning_rate, margin = _RATES[data][model]
    config.train.update(num_epochs=100, learning_rate=learning_rate, margin=margin)
    return config
