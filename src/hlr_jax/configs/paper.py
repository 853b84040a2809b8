"""Each system with the paper's loss: ``MODEL-paper:DATA``, for ``--config`` and ``hlr_jax.fit``.

The settings are the best on the validation lists of fixed splits of ml-100k, among 6 to 25 settings for each system.
They were measured there with one seed, on a CPU:

| system | NDCG@10 on valid | on test | time |
| --- | --- | --- | --- |
| mf_als | 0.182 | 0.297 | 9 s, most of it start and compilation |
| cml | 0.178 | 0.315 | 20 s, two cores |
| lrml | 0.182 | | 31 s |
| transcf | 0.179 | | 26 s; best with both regularizers off, by 0.001 |
| adacml | 0.184 | | 98 s |
| hlr | 0.176 | 0.309 | 75 s, two cores |
| hlrpp | 0.179 | | 13 minutes |
"""

from typing import Any

from ml_collections import ConfigDict, config_dict

from hlr_jax.configs import default
from hlr_jax.configs.base import base_config

_HISTORY = {"max_history": 20, "history_sampling": "uniform"}
_HLR = _HISTORY | {
    "variant": "paper", "project_memories": True, "memory_radius": config_dict.placeholder(float),
    "share_relation": False, "kernel": "xla", **default.SCALES,
}  # fmt: skip
_HINGE = {"learning_rate": 1e-3, "margin": 1.0, "num_negatives": 5}
# model -> its options, and settings of training.
MODELS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mf_als": (
        {
            "embed_dim": 32, "confidence": 5.0, "regularization": 30.0, "frequency_exponent": 0.0, "solver": "cg",
            "cg_steps": 3,
        },
        {"num_epochs": 20, "patience": 4},
    ),
    "cml": (default.CML, _HINGE | {"num_epochs": 100, "patience": 15}),
    "lrml": (
        {"num_memories": 5, "project_memories": True, "share_relation": False} | default.CENTERED,
        _HINGE | {"num_epochs": 80, "patience": 8},
    ),
    "transcf": ({"neighborhood_weight": 0.0, "distance_weight": 0.0}, _HINGE | {"num_epochs": 80, "patience": 8}),
    "adacml": (_HISTORY | {"max_history": 50}, _HINGE | {"num_epochs": 80, "patience": 8}),
    "hlr": (_HLR | {"num_memories": 5}, _HINGE | {"learning_rate": 2e-3, "num_epochs": 40, "patience": 6}),
    "hlrpp": (
        _HLR | {"num_memories": 20, "max_item_users": 20, "item_users_sampling": "uniform"},
        _HINGE | {"learning_rate": 2e-3, "num_epochs": 30, "patience": 5},
    ),
}  # fmt: skip


def get_config(model: str, data: str = "ml-100k") -> ConfigDict:
    """Return the settings for a model, and for data as in ``base.base_config``."""
    options, train = MODELS[model]
    config = base_config(data)
    config.model = ConfigDict(
        {"name": model, "embed_dim": 100} | ({} if model == "mf_als" else default.BALLS) | options
    )
    config.train.update(train)
    config.eval.monitor = "ndcg"
    return config
