"""Rejects settings that a user gives and nothing reads, since they would silently have no effect."""

from collections.abc import Iterable
from typing import Any

from hlr_jax.errors import InputError
from hlr_jax.models.options import MODEL_OPTIONS
from hlr_jax.objectives import READS
from hlr_jax.training.options import ALS, START

_OF_SOLVED = ("num_epochs", "patience", "num_seeds", "checkpoint_every", "start")
_OF_OBJECTIVES = ("margin", "temperature", "temperatures", "confidence")


def check_read(config: dict[str, Any], given: Iterable[str]) -> None:
    """Check that the given settings are read, and that no other setting overrides them.

    Args:
      config: the whole config, with these settings.
      given: their dotted names, such as ``train.margin``.

    Raises:
      InputError: names the setting, what does not read it, and what to set instead.
    """
    for name in given:
        section, _, key = name.partition(".")
        reason = _unread(config, key) if section == "train" else ""
        if section == "model" and key == "cg_steps" and config["model"].get("solver") != "cg":
            reason = "only model.solver=cg reads it"
        if reason:
            raise InputError(f"{name} has no effect: {reason}")


def _unread(config: dict[str, Any], key: str) -> str:
    """Return why a setting of ``train`` is not read; empty if it is read."""
    model, train = config.get("model", {}).get("name"), config.get("train", {})
    if model in MODEL_OPTIONS and MODEL_OPTIONS[model].solved:
        read = ", ".join(_OF_SOLVED)
        return "" if key in _OF_SOLVED else f"{model} is fitted without gradient steps; of train it reads only {read}"
    if key in START[1:] and train.get("start") != ALS:
        return f"only train.start={ALS} reads it"
    objective, negatives = train.get("objective"), train.get("negatives")
    if key in _OF_OBJECTIVES and key.removesuffix("s") not in READS.get(objective, (key.removesuffix("s"),)):
        return f"train.objective={objective} does not read it; it reads {' and '.join(READS[objective]) or 'none'}"
    if key == "temperature" and train.get("temperatures"):
        instead = f"set train.temperatures=({train['temperature']},)"
        return f"train.temperatures={tuple(train['temperatures'])} overrides it; {instead}"
    if key == "prune_after" and train["prune_after"] and len(train.get("temperatures", ())) < 2:
        return "one temperature leaves nothing to prune"
    if key in ("num_negatives", "negative_popularity") and negatives in ("all", "in_batch"):
        return f"train.negatives={negatives} samples none"
    return ""
