"""The namespace that the examples of docstrings run in; docs/reference/api/index.md shows it to readers."""

from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import polars as pl

import hlr_jax
from hlr_jax import losses, objectives
from hlr_jax.data import sources
from hlr_jax.evaluation import metrics
from hlr_jax.models import registry


def namespace(folder: Path) -> dict[str, Any]:
    """Return the names that every example may use; one small training makes them.

    Args:
      folder: where ``workdir`` goes.
    """
    data = hlr_jax.load_dataset("planted-60x50x900", cache=False, log=lambda line: None)
    model = hlr_jax.create_model("cml", embed_dim=4)
    options = hlr_jax.TrainOptions(num_epochs=1)
    recommender = hlr_jax.fit(data, model, train=options, quiet=True)
    workdir = folder / "ease"
    hlr_jax.fit(data, "ease", workdir=workdir, quiet=True, log=lambda line: None)
    return {
        "hlr_jax": hlr_jax, "jax": jax, "jnp": jnp, "pl": pl, "data": data, "model": model, "options": options,
        "recommender": recommender, "params": recommender.params, "workdir": workdir,
    }  # fmt: skip


def registries() -> list[Any]:
    """Return patches that undo what examples register."""
    patches: list[Any] = [
        mock.patch.dict(known)
        for known in (losses.OBJECTIVES, objectives.READS, sources.DATASETS, metrics.METRICS, metrics.MEANINGS)
    ]
    return [*patches, *(mock.patch.dict(known) for known in vars(registry).values() if isinstance(known, dict))]
