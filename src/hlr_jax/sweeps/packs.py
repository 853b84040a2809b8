"""Trainings that one program does at once: alike in all but seed, learning rate, margin and temperature."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from hlr_jax.data.dataset import Dataset
from hlr_jax.errors import InputError
from hlr_jax.experiment import Settings, settings_of
from hlr_jax.files import sha256_of
from hlr_jax.storage import store
from hlr_jax.sweeps.grid import with_overrides
from hlr_jax.training.gradients import working_floats
from hlr_jax.training.learners import in_turn
from hlr_jax.training.options import Run
from hlr_jax.types import Params

OF_THE_RUN = {"seed": 0, "train.learning_rate": 0.0, "train.margin": 0.0, "train.temperature": 0.0}


class Trial(NamedTuple):
    """One training: complete settings, of one seed.

    Attributes:
      config: the settings.
      settings: what they make.
      key: stands for the settings, whatever they are trained beside and on.
    """

    config: dict[str, Any]
    settings: Settings
    key: str

    @property
    def run(self) -> Run:
        """What the trials of a pack may differ in."""
        return self.settings.train.runs([self.settings.seed])[0]


class Pack(NamedTuple):
    """Trials for one program; ``key`` stands for all of them."""

    trials: list[Trial]
    key: str


def trials_of(config: dict[str, Any]) -> list[Trial]:
    """Return the trials of a point's settings, one for each seed.

    Raises:
      InputError: an unknown key, or a value out of range.
    """
    first, train = config.get("seed", 0), settings_of(config).train
    if train.temperatures:
        raise InputError(
            "train.temperatures is set, and a sweep chooses itself: pass --config.train.temperatures=() and "
            "--grid=train.temperature=..."
        )
    trials = []
    for seed in range(first, first + train.num_seeds):
        own = with_overrides(config, {"seed": seed, "train.num_seeds": 1})
        key = sha256_of({name: part for name, part in own.items() if name != "mesh"})[:16]
        trials.append(Trial(own, settings_of(own), key))
    return trials


def pack(trials: Sequence[Trial], dataset: Dataset, budget: int, mesh: Mesh | None) -> list[Pack]:
    """Put trials together, as many in a program as fit in ``budget`` bytes, and one at least; their order is kept."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(sha256_of(with_overrides(trial.config, OF_THE_RUN)), []).append(trial)
    packs = []
    for group in groups.values():
        size = max(1, budget // trial_bytes(group[0].settings, dataset, mesh))
        for start in range(0, len(group), size):
            part = group[start : start + size]
            packs.append(Pack(part, sha256_of([trial.key for trial in part])[:16]))
    return packs


def trial_bytes(settings: Settings, dataset: Dataset, mesh: Mesh | None) -> int:
    """Return about how many bytes one more trial takes in a program.

    These are its parameters, those of its best epoch and the copy while these are replaced, the two moments, the
    gradient, and the average if there is one; where trials are computed side by side, the vectors and weights of a
    batch too.
    """
    model, options = settings.model, settings.train

    def start(key: jax.Array) -> tuple[Params, Params]:
        params = model.init(key, dataset.num_users, dataset.num_items)
        return store(params, options.storage), params

    stored, whole = jax.eval_shape(start, jax.random.key(0))
    total = 3 * sum(array.size * (array.dtype.itemsize + 4) for array in jax.tree.leaves(stored))
    total += 4 * sum(array.size for array in jax.tree.leaves(whole)) if options.ema_decay else 0
    if model.solver is None and not in_turn(2, mesh):
        total += 4 * options.batch_size * working_floats(model, whole, options.drawn_negatives)
    return total
