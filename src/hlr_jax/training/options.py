"""The settings of training, checked where they are made."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

from hlr_jax import objectives
from hlr_jax.errors import InputError
from hlr_jax.settings import Settings, number, word

BATCHES = ("triplets", "users")
NEGATIVES = {
    "per_triplet": "triplets", "per_user": "users", "in_batch": "triplets", "shared": "triplets", "all": "users",
}  # fmt: skip
"""Kinds of negatives, and the kind of batches that has them."""
OPTIMIZERS = ("adam", "lazy_adam")

START = (
    "start", "start_confidence", "start_regularization", "start_frequency_exponent", "start_iterations", "start_scale",
)  # fmt: skip
"""What training starts from: no epoch's program depends on these settings."""

LENGTH = ("num_epochs", "patience", "checkpoint_every")
"""How long a training goes on, and what it keeps on the way: no epoch depends on these settings."""

UPDATE_EPOCHS = 4  # of ``runs.update``; docs/guides/updating.md has what they are worth

RANDOM, ALS = "random", "als"
"""Where a training starts that does not start from another one."""


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


def run_names(runs: Sequence[Run]) -> dict[Run, str]:
    """Return a name for each of the runs that are trained at once: its seed, and what else they differ in.

    Example:
      >>> list(run_names([Run(0, 0.1, 0.5, 0.2), Run(0, 0.1, 0.5, 1.0)]).values())
      ['seed-0-temperature-0.2', 'seed-0-temperature-1']
    """
    differing = [name for name in Run._fields[1:] if len({getattr(run, name) for run in runs}) > 1]
    others = ((name.replace("_", "-"), name) for name in differing)
    pieces = [("seed", "seed"), *others]
    return {run: "-".join(f"{shown}-{getattr(run, name):g}" for shown, name in pieces) for run in runs}


@dataclass(frozen=True)
class TrainOptions(Settings):
    """How to train.

    Attributes:
      num_epochs: passes over the training interactions, at most; 0: what training starts from is the result.
      batch: triplets, as in the paper, or users, each with all its items at once; see ``examples``.
      batch_size: B, triplets or users per step.
      optimizer: ``lazy_adam`` moves only what a batch touches; see ``optimizer.adam_step``.
      learning_rate: of Adam, constant after the warm-up.
      margin: m of the hinges (eq. 8).
      temperature: t of the objectives that are no hinge.
      temperatures: several of them to choose from, instead of ``temperature``: each is trained, all at once, and each
        seed keeps the one with the best epoch on validation. What suits depends on the data more than any other setting
        does, so a recipe for data that nobody has seen yet tries a few.
      prune_after: epochs after which a seed goes on with its best temperature alone, and with those that are not
        significantly worse; 0: never. See ``run_progress.prune``.
      objective: what is minimized; see ``losses``. ``square``, over all items, is for users who are made from their
        items; see ``item_losses``.
      confidence: c of ``square``, the weight of a positive; other items have the weight 1.
      negatives: what a positive is measured against; see ``batches.Negatives``.
      num_negatives: n, negatives drawn for each triplet or user, or shared by each batch.
      negative_popularity: b; negatives are drawn by popularity to the power of b.
      history_dropout: of a model whose users are made from their items: the share of them that is left out, drawn anew
        at each visit of the user; what is left out is a positive all the same.
      weight_decay: w; beside its step of Adam every array that the step moves shrinks by the rate times w (decoupled:
        Loshchilov and Hutter 2019). It is no part of the loss.
      ema_decay: d; what is measured and kept is the average of the parameters after each epoch, those of e epochs ago
        with weight d^e. 0: the parameters themselves.
      patience: stop after so many epochs without a better one; 0: never.
      num_seeds: models that are trained at once, with the run's seed and those after it.
      checkpoint_every: epochs between checkpoints; a best epoch and the last one always make one.
      start: ``random``; ``als``: from factors that MF-ALS solves for, see ``als_start``; or the folder of a run of the
        same model: from that run's best epoch, see ``warm_start``. A start that is not random is measured as epoch 0
        and kept where no epoch is better.
      start_confidence: c of the MF-ALS that training starts from, the weight of an observed pair.
      start_regularization: its lambda.
      start_frequency_exponent: its nu, by which lambda grows with the weight of a row.
      start_iterations: how often it solves for all users and all items.
      start_scale: the length of users at the start, as a share of the likeliest; shorter ones leave more to learn.
      warmup: epochs in which the learning rate grows from 0 to what it is; see ``learner``.

    Raises:
      InputError: a value out of range, or two that exclude each other, by name.

    Example:
      >>> options = hlr_jax.TrainOptions(objective="sampled_softmax", temperatures=(0.2, 0.5), num_negatives=32)
      >>> [run.temperature for run in options.runs(seeds=[0])]
      [0.2, 0.5]
    """

    section: ClassVar[str] = "train"

    num_epochs: int = number(50, 0, 10**6)
    batch: str = word("triplets", BATCHES)
    batch_size: int = number(1000, 1, 10**7)
    optimizer: str = word("adam", OPTIMIZERS)
    learning_rate: float = number(1e-3, 0.0, 10.0)
    margin: float = number(0.5, 0.0, 1e6)
    temperature: float = number(0.5, 1e-6, 1e6)
    temperatures: tuple[float, ...] = number((), 1e-6, 1e6)
    prune_after: int = number(0, 0, 10**6)
    objective: str = word("hinge_hardest", objectives.READS)
    confidence: float = number(10.0, 1e-6, 1e6)
    negatives: str = word("per_triplet", NEGATIVES)
    num_negatives: int = number(1, 1, 65536)
    negative_popularity: float = number(0.0, 0.0, 2.0)
    history_dropout: float = number(0.0, 0.0, 0.99)
    weight_decay: float = number(0.0, 0.0, 1e3)
    ema_decay: float = number(0.0, 0.0, 0.999)
    patience: int = number(0, 0, 10**6)
    num_seeds: int = number(1, 1, 1024)
    checkpoint_every: int = number(1, 1, 10**6)
    start: str = RANDOM
    start_confidence: float = number(20.0, 1e-6, 1e6)
    start_regularization: float = number(20.0, 1e-6, 1e9)
    start_frequency_exponent: float = number(0.0, 0.0, 10.0)
    start_iterations: int = number(15, 1, 10**4)
    start_scale: float = number(1.0, 1e-3, 1e3)
    warmup: float = number(0.0, 0.0, 1e3)

    def __post_init__(self) -> None:
        """Check every field, and those that exclude each other."""
        super().__post_init__()
        if not isinstance(self.temperatures, tuple | list):
            raise InputError(f"train.temperatures must be a list of numbers, got {self.temperatures!r}")
        object.__setattr__(self, "temperatures", tuple(self.temperatures))  # a config has a list
        if not self.start:
            raise InputError(f"train.start must be {RANDOM}, {ALS} or the folder of a run, got {self.start!r}")
        if not self.num_epochs and self.start == RANDOM:
            raise InputError("train.num_epochs=0 trains nothing: set 1 or more, or train.start")
        if len(set(self.temperatures)) < len(self.temperatures):
            raise InputError(f"train.temperatures holds a value twice: {list(self.temperatures)}")
        if self.batch != NEGATIVES[self.negatives]:
            fitting = " or ".join(kind for kind, batch in NEGATIVES.items() if batch == self.batch)
            raise InputError(
                f"train.negatives={self.negatives} is not for train.batch={self.batch}; set negatives to {fitting}"
            )
        if self.negatives == "all" and self.objective not in ("sampled_softmax", "square"):
            raise InputError(
                f"train.negatives=all is for train.objective=sampled_softmax or square, not {self.objective}; "
                "set the objective, or other negatives"
            )
        if self.objective == "square" and self.negatives != "all":
            raise InputError("train.objective=square is over all items: set train.batch=users and train.negatives=all")

    def of_every_run(self) -> "TrainOptions":
        """Return these settings without what runs differ in, so that they are the same for all of them."""
        unset: dict[str, Any] = dict.fromkeys(Run._fields[1:], 1.0)
        return replace(self, **unset, temperatures=(), prune_after=0, num_seeds=1)

    def without_run(self) -> "TrainOptions":
        """Return these settings for a training that starts from no other run: at random, if it did."""
        if self.start in (RANDOM, ALS):
            return self
        return replace(self, start=RANDOM, num_epochs=max(1, self.num_epochs))

    def at(self, temperature: float) -> "TrainOptions":
        """Return these settings for one temperature: those of a run that was chosen among several."""
        return replace(self, temperature=temperature, temperatures=(), prune_after=0)

    def runs(self, seeds: Iterable[int]) -> list[Run]:
        """Return the runs with these settings: of each seed in turn, one for each temperature."""
        chosen = self.temperatures or (self.temperature,)
        return [Run(seed, self.learning_rate, self.margin, temperature) for seed in seeds for temperature in chosen]
