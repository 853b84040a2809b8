"""The settings of training, checked where they are made."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from hlr_jax.errors import InputError, check_range, pick
from hlr_jax.losses import OBJECTIVES
from hlr_jax.training.batches import BATCHES, NEGATIVES, Negatives
from hlr_jax.training.optimizer import OPTIMIZERS

LENGTH = ("num_epochs", "patience", "checkpoint_every")
"""How long a training goes on, and what it keeps on the way: no epoch depends on these settings."""


class Run(NamedTuple):
    """What may differ between the models that one program trains at once; all else they share.

    Attributes:
      seed: of parameters and draws.
      learning_rate: of Adam.
      margin: of the hinges.
      temperature: of the other objectives.
    """

    seed: int
    learning_rate: float
    margin: float
    temperature: float


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Attributes:
      num_epochs: passes over the training interactions, at most.
      batch: ``triplets``, the paper's, or ``users``: each with all its items at once; see ``examples``.
      batch_size: B, triplets or users per step.
      optimizer: ``adam``, or ``lazy_adam``, which moves only what a batch touches; see ``optimizer.adam_step``.
      learning_rate: of Adam, constant.
      margin: m of the hinges (eq. 8).
      temperature: t of the objectives that are no hinge.
      temperatures: several of them to choose from, instead of ``temperature``: each is trained, all at once, and each
        seed keeps the one with the best epoch on validation. What suits depends on the data more than any other setting
        does, so a recipe for data that nobody has seen yet tries a few.
      prune_after: epochs after which a seed goes on with its best temperature alone, and with those that are not
        significantly worse; 0: never. See ``run_progress.prune``.
      objective: a name of ``losses.OBJECTIVES``.
      negatives: a name of ``batches.NEGATIVES``; see ``batches.Negatives``.
      num_negatives: n, negatives drawn for each triplet or user, or shared by each batch.
      negative_popularity: b; negatives are drawn by popularity to the power of b.
      ema_decay: d; what is measured and kept is the average of the parameters after each epoch, those of e epochs ago
        with weight d^e. 0: the parameters themselves.
      patience: stop after so many epochs without a better one; 0: never.
      num_seeds: models that are trained at once, with the run's seed and those after it.
      checkpoint_every: epochs between checkpoints; a best epoch and the last one always make one.

    Raises:
      InputError: a value out of range, or two that exclude each other, by name.
    """

    num_epochs: int = 50
    batch: str = "triplets"
    batch_size: int = 1000
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    margin: float = 0.5
    temperature: float = 0.5
    temperatures: tuple[float, ...] = ()
    prune_after: int = 0
    objective: str = "hinge_hardest"
    negatives: str = "per_triplet"
    num_negatives: int = 1
    negative_popularity: float = 0.0
    ema_decay: float = 0.0
    patience: int = 0
    num_seeds: int = 1
    checkpoint_every: int = 1

    def __post_init__(self) -> None:
        """Check every range."""
        object.__setattr__(self, "temperatures", tuple(self.temperatures))  # a config has a list
        for value in self.temperatures:
            check_range("train", temperatures=(value, 1e-6, 1e6))
        if len(set(self.temperatures)) < len(self.temperatures):
            raise InputError(f"train.temperatures holds a value twice: {list(self.temperatures)}")
        check_range(
            "train",
            num_epochs=(self.num_epochs, 1, 10**6),
            batch_size=(self.batch_size, 1, 10**7),
            learning_rate=(self.learning_rate, 0.0, 10.0),
            margin=(self.margin, 0.0, 1e6),
            temperature=(self.temperature, 1e-6, 1e6),
            prune_after=(self.prune_after, 0, 10**6),
            negative_popularity=(self.negative_popularity, 0.0, 2.0),
            num_negatives=(self.num_negatives, 1, 65536),
            ema_decay=(self.ema_decay, 0.0, 0.999),
            num_seeds=(self.num_seeds, 1, 1024),
            patience=(self.patience, 0, 10**6),
            checkpoint_every=(self.checkpoint_every, 1, 10**6),
        )
        pick(self.batch, BATCHES, "train.batch")
        pick(self.objective, OBJECTIVES, "train.objective")
        pick(self.optimizer, OPTIMIZERS, "train.optimizer")
        if self.batch != NEGATIVES[pick(self.negatives, NEGATIVES, "train.negatives")]:
            fitting = " or ".join(kind for kind, batch in NEGATIVES.items() if batch == self.batch)
            raise InputError(
                f"train.negatives={self.negatives} is not for train.batch={self.batch}; set negatives to {fitting}"
            )
        if self.negatives == "all" and self.objective != "sampled_softmax":
            raise InputError(
                f"train.negatives=all is for train.objective=sampled_softmax, not {self.objective}; "
                "set the objective, or other negatives"
            )

    @property
    def drawn_negatives(self) -> Negatives:
        """The negatives, as the draws take them."""
        return Negatives(self.negatives, self.num_negatives, self.negative_popularity)

    def of_every_run(self) -> "TrainOptions":
        """Return these settings without what runs differ in, so that they are the same for all of them."""
        unset: dict[str, Any] = dict.fromkeys(Run._fields[1:], 1.0)
        return replace(self, **unset, temperatures=(), prune_after=0, num_seeds=1)

    def at(self, temperature: float) -> "TrainOptions":
        """Return these settings for one temperature: those of a run that was chosen among several."""
        return replace(self, temperature=temperature, temperatures=(), prune_after=0)

    def runs(self, seeds: Iterable[int]) -> list[Run]:
        """Return the runs with these settings: of each seed in turn, one for each temperature."""
        chosen = self.temperatures or (self.temperature,)
        return [Run(seed, self.learning_rate, self.margin, temperature) for seed in seeds for temperature in chosen]
