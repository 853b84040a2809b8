"""The default recipe, for data without tuned settings: ``MODEL:DATA`` with hlr, hlrpp or cml.

Sampled softmax with 32 negatives per triplet. Three temperatures are trained at once, and validation NDCG@10 selects
among them and their epochs. After eight epochs, those that are significantly worse end. The average over epochs is
evaluated. A ball of radius 0.1 for memories keeps HLR's relations from overfitting the training items.
docs/results/findings.md has the effect of each choice, and docs/results/recipes/README.md times and metrics.
"""

from typing import Any

from ml_collections import ConfigDict

from hlr_jax.configs.base import base_config

TEMPERATURES = (0.12, 0.2, 0.35)
CENTERED = {"center_memories": False, "key_scale": 1.0}
SCALES = CENTERED | {"attention_scale": 1.0, "learned_scales": False}
_HLR = {
    "num_memories": 4, "max_history": 10, "history_sampling": "uniform", "variant": "paper", "project_memories": False,
    "memory_radius": 0.1, "share_relation": False, "kernel": "xla", **SCALES,
}  # fmt: skip
BALLS = {"radius": 1.0, "user_radius": 1.0}
CML = {"user": "table", "tied": False, "count_exponent": 1.0}
MODELS: dict[str, dict[str, Any]] = {
    "cml": CML,
    "hlr": _HLR,
    "hlrpp": _HLR | {"max_item_users": 10, "item_users_sampling": "uniform"},
}


def get_config(model: str, data: str = "ml-100k") -> ConfigDict:
    """Return the settings for a model, and for data as in ``base.base_config``."""
    config = base_config(data)
    config.model = ConfigDict({"name": model, "embed_dim": 128} | BALLS | MODELS[model])
    config.train.update(
        objective="sampled_softmax",
        negatives="per_triplet",
        num_negatives=32,
        temperatures=TEMPERATURES,
        prune_after=8,
        learning_rate=5e-3,
        ema_decay=0.9,
        num_epochs=60,
        patience=5,
    )
    config.eval.update(monitor="ndcg", num_valid_users=2000)
    return config
