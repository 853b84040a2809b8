"""The flags of commands that use one model of a run: which of its seeds, or seeds that are one model together."""

from typing import TYPE_CHECKING

from absl import flags

import hlr_jax

if TYPE_CHECKING:
    from hlr_jax import Recommender

_SEED = flags.DEFINE_integer("seed", None, "which seed of a run of several; the first, if not given")
_ENSEMBLE = flags.DEFINE_integer("ensemble", 1, "seeds that are one model together; --seed is the first of them")


def load_chosen(workdir: str) -> "Recommender":
    """Return the recommender of the chosen seed, from the workdir of a run or a saved recommender.

    Raises:
      InputError: see ``Recommender.load``; a seed that is not there.
    """
    return hlr_jax.Recommender.load(workdir, seed=_SEED.value, ensemble=_ENSEMBLE.value, log=print)
