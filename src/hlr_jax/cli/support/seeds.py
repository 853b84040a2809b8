"""Flags of commands that use one model of a run: one of its seeds, or all of them as a blend."""

from typing import TYPE_CHECKING

from absl import flags

import hlr_jax
from hlr_jax.errors import InputError

if TYPE_CHECKING:
    from hlr_jax import Recommender

_SEED = flags.DEFINE_integer("seed", None, "seed to use of a run with several; the default is the first")
_BLEND = flags.DEFINE_bool("blend_seeds", False, "use all seeds of the run as one blend with equal weights")


def load_chosen(workdir: str) -> "Recommender":
    """Return the recommender of the chosen seed, from the workdir of a run or a saved recommender.

    Raises:
      InputError: see ``Recommender.load``; the run lacks the seed.
    """
    if _BLEND.value and _SEED.value is not None:
        raise InputError("--blend_seeds uses all seeds: leave --seed out")
    return hlr_jax.Recommender.load(workdir, seed=_SEED.value, blend_seeds=_BLEND.value, log=print)
