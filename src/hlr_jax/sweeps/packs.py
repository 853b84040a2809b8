"""Trainings that one program does at once: alike in all but seed, learning rate, margin and temperature."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from hlr_jax.errors import InputError
from hlr_jax.experiment import Settings, settings_of
from hlr_jax.files import sha256_of
from hlr_jax.sweeps.grid import with_overrides
from hlr_jax.training.options import Run

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


def packs_of(trials: Sequence[Trial], parallel: int) -> list[Pack]:
    """Put trials that may share a program together, at most ``parallel`` in each; their order is kept."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(sha256_of(with_overrides(trial.config, OF_THE_RUN)), []).append(trial)
    packs = []
    for group in groups.values():
        for start in range(0, len(group), parallel):
            part = group[start : start + parallel]
            packs.append(Pack(part, sha256_of([trial.key for trial in part])[:16]))
    return packs
