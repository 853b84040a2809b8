"""The flags of commands that use one model of a run: which of its seeds, or seeds that are one model together."""

from typing import TYPE_CHECKING

from absl import flags

import hlr_jax
from hlr_jax.errors import InputError

if TYPE_CHECKING:
    from hlr_jax import LoadedRun

_SEED = flags.DEFINE_integer("seed", None, "which seed of a run of several; the first, if not given")
ENSEMBLE = flags.DEFINE_integer("ensemble", 1, "seeds that are one model together; --seed is the first of them")


def load_chosen(workdir: str) -> "tuple[LoadedRun, int]":
    """Return a trained run, and the place of the chosen seed in what it holds of each.

    Raises:
      InputError: see ``load_run``; a seed that the run has not.
    """
    run = hlr_jax.load_run(workdir, ensemble=ENSEMBLE.value)
    seeds = run.seeds
    seed = seeds[0] if _SEED.value is None else _SEED.value
    if seed not in seeds:
        what = "has" if ENSEMBLE.value == 1 else f"has ensembles of {ENSEMBLE.value} seeds from"
        raise InputError(f"--seed is {seed}, but the run {what} {', '.join(map(str, seeds))}")
    return run, seeds.index(seed)
