"""The recipe for data that nobody has tuned for: HLR, or CML with the same objective, negatives and budget.

python experiments/train.py --config=experiments/configs/recipes/default.py:hlr,ml-100k --workdir=runs/hlr

MODEL,DATA with hlr, hlrpp or cml, and what `configs/base.py` takes for data: a data set of the registry, `split`,
`file`.

Sampled softmax over 32 negatives of each triplet's own; three temperatures are trained at once, and validation NDCG@10
chooses among them and their epochs: after eight epochs those that are significantly worse end. The epochs' average is
what is measured. A ball of radius 0.1 for memories keeps HLR's relations from fitting what users have already met.
docs/findings.md has what each of these is worth, and docs/recipes/README.md times and metrics.
"""

from typing import Any

from configs.base import base_config
from ml_collections import ConfigDict

TEMPERATURES = (0.12, 0.2, 0.35)
_HLR = {
    "num_memories": 4, "max_history": 10, "history_sampling": "uniform", "variant": "paper", "project_memories": False,
    "memory_radius": 0.1, "share_relation": False, "kernel": "xla",
}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "cml": {},
    "hlr": _HLR,
    "hlrpp": _HLR | {"max_item_users": 10, "item_users_sampling": "uniform"},
}


def get_config(choice: str = "hlr,ml-100k") -> ConfigDict:
    """Return the settings for ``MODEL,DATA``."""
    model, _, data = choice.partition(",")
    if model not in MODELS:
        raise ValueError(f'no recipe for "{model}"; MODEL,DATA with models {list(MODELS)}')
    config = base_config(data or "ml-100k")
    config.model = ConfigDict({"name": model, "embed_dim": 128} | MODELS[model])
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


def tuned(model: str, temperature: float, embed_dim: int = 128, **train: Any) -> ConfigDict:
    """Return the recipe with one temperature, D, and settings of training, for a file of fixed splits.

    The radius of memories is half the temperature: what counts is how far a relation moves a distance beside that.
    """
    config = get_config(f"{model},split")
    config.train.update(dict(temperatures=(), temperature=temperature, prune_after=0, num_negatives=63) | train)
    config.model.embed_dim = embed_dim
    if "memory_radius" in config.model:
        config.model.memory_radius = temperature / 2
    return config
