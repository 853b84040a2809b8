"""The memory keys of a run, where its model has keys that pairs of items address."""

import polars as pl

from hlr_jax.analysis.attention import check_keys
from hlr_jax.analysis.keys import key_table
from hlr_jax.errors import InputError
from hlr_jax.report.facts.runs import RunFacts


def keys_of(run: RunFacts) -> pl.DataFrame | None:
    """Return ``analysis.keys.key_table`` of the run's first seed; None for a model without such keys."""
    parts, params = run.loaded.parts, run.loaded.params[0]
    try:
        check_keys(parts.model, params)
    except InputError:
        return None
    return key_table(parts.model, params, parts.dataset, seed=run.first_seed)
