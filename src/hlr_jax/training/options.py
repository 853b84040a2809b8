"""The settings of training, checked where they are made."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from hlr_jax.errors import InputError, check_range, pick
from hlr_jax.losses import OBJECTIVES
from hlr_jax.storage import STORAGES
from hlr_jax.training.batches import NEGATIVES, Negatives
from hlr_jax.training.optimizer import OPTIMIZERS


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
    """How to train with triplets.

    Attributes:
      num_epochs: passes over the training interactions, at most.
      batch_size: B, triplets per step; with ``negatives`` ``all`` users per step, of which 64 are a good start.
      optimizer: ``adam``, or ``lazy_adam``, which moves only what a batch touches; see ``optimizer.adam_step``.
      storage: ``float32``, or ``bfloat16`` for the tables of users and items between two steps; see ``storage``.
      learning_rate: of Adam, constant.
      margin: m of the hinges (eq. 8).
      temperature: t of the objectives that are no hinge.
      temperatures: several of them to choose from, instead of ``temperature``: each is trained, all at once, and each
        seed keeps the one with the best epoch on validation. What suits depends on the data more than any other setting
        does, so a recipe for data that nobody has seen yet tries a few.
      objective: a name of ``losses.OBJECTIVES``.
      negatives: ``own``, ``shared``, ``in_batch`` or ``all``; see ``batches.Negatives``. ``all`` is for the objective
        ``sampled_softmax``, which is then exact.
      num_negatives: n, negatives drawn for each triplet, or shared by each batch.
      negative_popularity: b; negatives are drawn by popularity to the power of b.
      ema_decay: d; what is measured and kept is the average of the parameters after each epoch, e epochs ago with
        weight
        d^e. 0: the parameters themselves.
      patience: stop after so many epochs without a better one; 0: never.
      microbatch: triplets whose gradients are taken together before they are added up; the result does not depend on
        it, the speed does. 0: as many as fit in a CPU's cache, or the whole batch on an accelerator.
      num_seeds: models that are trained at once, with the run's seed and those after it.
      checkpoint_every: epochs between checkpoints; a best epoch and the last one always make one.

    Raises:
      InputError: a value out of range, by name.
    """

    num_epochs: int = 50
    batch_size: int = 1000
    optimizer: str = "adam"
    storage: str = "float32"
    learning_rate: float = 1e-3
    margin: float = 0.5
    temperature: float = 0.5
    temperatures: tuple[float, ...] = ()
    objective: str = "hinge_hardest"
    negatives: str = "own"
    num_negatives: int = 1
    negative_popularity: float = 0.0
    ema_decay: float = 0.0
    patience: int = 0
    microbatch: int = 0
    num_seeds: int = 1
    checkpoint_every: int = 1

    def __post_init__(self) -> None:
        """Check every range."""
        object.__setattr__(self, "temperatures", tuple(self.temperatures))  # a config has a list
        for one in self.temperatures:
            check_range("train", temperatures=(one, 1e-6, 1e6))
        if len(set(self.temperatures)) < len(self.temperatures):
            raise InputError(f"train.temperatures holds a value twice: {list(self.temperatures)}")
        check_range(
            "train",
            num_epochs=(self.num_epochs, 1, 10**6),
            batch_size=(self.batch_size, 1, 10**7),
            learning_rate=(self.learning_rate, 0.0, 10.0),
            margin=(self.margin, 0.0, 1e6),
            temperature=(self.temperature, 1e-6, 1e6),
            negative_popularity=(self.negative_popularity, 0.0, 2.0),
            num_negatives=(self.num_negatives, 1, 65536),
            ema_decay=(self.ema_decay, 0.0, 0.999),
            num_seeds=(self.num_seeds, 1, 1024),
            patience=(self.patience, 0, 10**6),
            checkpoint_every=(self.checkpoint_every, 1, 10**6),
        )
        pick(self.objective, OBJECTIVES, "train.objective")
        pick(self.negatives, NEGATIVES, "train.negatives")
        pick(self.optimizer, OPTIMIZERS, "train.optimizer")
        pick(self.storage, STORAGES, "train.storage")
        if self.negatives == "all" and self.objective != "sampled_softmax":
            raise InputError(
                f"train.negatives=all is for train.objective=sampled_softmax, not {self.objective}; "
                "set the objective, or other negatives"
            )
        check_range("train", microbatch=(self.microbatch, 0, self.batch_size))
        if self.microbatch and self.batch_size % self.microbatch:
            raise InputError(f"train.microbatch ({self.microbatch}) must divide train.batch_size ({self.batch_size})")

    @property
    def drawn_negatives(self) -> Negatives:
        """The negatives, as the draws take them."""
        return Negatives(self.negatives, self.num_negatives, self.negative_popularity)

    def at(self, temperature: float) -> "TrainOptions":
        """Return these settings for one temperature: those of a run that was chosen among several."""
        return replace(self, temperature=temperature, temperatures=())

    def runs(self, seeds: Iterable[int]) -> list[Run]:
        """Return the runs with these settings: of each seed in turn, one for each temperature."""
        chosen = self.temperatures or (self.temperature,)
        return [Run(seed, self.learning_rate, self.margin, one) for seed in seeds for one in chosen]
