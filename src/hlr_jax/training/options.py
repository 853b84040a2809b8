"""The settings of training, checked on construction."""

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
"""Kinds of negatives, and the kind of batches that each needs."""
OPTIMIZERS = ("adam", "lazy_adam")

START = (
    "start", "start_confidence", "start_regularization", "start_frequency_exponent", "start_iterations", "start_scale",
)  # fmt: skip
"""Where training starts: no epoch's program depends on these settings."""

LENGTH = ("num_epochs", "patience", "checkpoint_every")
"""How long a training runs, and what it keeps: no epoch depends on these settings."""

UPDATE_EPOCHS = 4  # of ``runs.update``; docs/guides/updating.md has their effect

RANDOM, ALS = "random", "als"
"""Starts that need no other run."""


class Run(NamedTuple):
    """The settings that may differ between models trained at once by one program; they share all others.

    Attributes:
      seed: of parameters and random choices.
      learning_rate: of Adam.
      margin: of the hinges.
      temperature: of objectives without a hinge.
    """

    seed: int
    learning_rate: float
    margin: float
    temperature: float


def run_names(runs: Sequence[Run]) -> dict[Run, str]:
    """Return a name for each of the runs trained at once: its seed, and the other settings in which they differ.

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
      num_epochs: passes over the training interactions, at most; 0: the start is the result.
      batch: triplets, as in the paper, or users, each with all its items at once; see ``examples``.
      batch_size: B, triplets or users per step.
      optimizer: ``lazy_adam`` moves only the rows that a batch touches; see ``optimizer.adam_step``.
      learning_rate: of Adam, constant after the warm-up.
      margin: m of the hinges (eq. 8).
      temperature: t of objectives without a hinge.
      temperatures: several values to choose from, instead of ``temperature``. All are trained at once, and each seed
        keeps the one with the best epoch on validation. The best value depends on the data more than that of any other
        setting, so a recipe for new data tries a few.
      prune_after: epochs after which a seed continues only with its best temperature and those that are not
        significantly worse; 0: never. See ``run_progress.prune``.
      objective: the loss to minimize; see ``losses``. ``square``, over all items, is for users who are made from their
        items; see ``item_losses``.
      confidence: c of ``square``, the weight of a positive; other items have the weight 1.
      negatives: how negatives are chosen; see ``batches.Negatives``.
      num_negatives: n, negatives sampled for each triplet or user, or shared by each batch.
      negative_popularity: b; negatives are sampled in proportion to popularity to the power of b.
      history_dropout: the share of a user's items that is left out of the user's vector, for models that make users
        from their items. It is sampled again at each visit of the user. Items left out are still positives.
      weight_decay: w; at each step of Adam, every array that the step moves also shrinks by the rate times w. It is
        decoupled (Loshchilov and Hutter 2019), so it is not part of the loss.
      ema_decay: d; the parameters to measure and keep are averaged after each epoch, those of e epochs ago with weight
        d^e. 0: no average.
      patience: stop after this many epochs without a better one; 0: never.
      num_seeds: models trained at once, with the run's seed and the seeds after it.
      checkpoint_every: epochs between checkpoints; a best epoch and the last one always make one.
      start: ``random``; ``als``: factors solved for by MF-ALS, see ``als_start``; or the folder of a run of the same
        model, for its best epoch, see ``warm_start``. A start that is not random is measured as epoch 0, and kept if no
        epoch is better.
      start_confidence: c of the MF-ALS at the start, the weight of an observed pair.
      start_regularization: its lambda.
      start_frequency_exponent: its nu, by which lambda grows with the weight of a row.
      start_iterations: how often it solves for all users and all items.
      start_scale: the length of users at the start, as a share of the likeliest length; shorter users leave more to
        learn.
      warmup: epochs in which the learning rate grows from 0 to ``learning_rate``; see ``learner``.

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
        """Return these settings without those that differ between runs, so that they are the same for all of them."""
        unset: dict[str, Any] = dict.fromkeys(Run._fields[1:], 1.0)
        return replace(self, **unset, temperatures=(), prune_after=0, num_seeds=1)

    def without_run(self) -> "TrainOptions":
        """Return these settings for a training that starts from no other run: at random, if it did."""
        if self.start in (RANDOM, ALS):
            return self
        return replace(self, start=RANDOM, num_epochs=max(1, self.num_epochs))

    def at(self, temperature: float) -> "TrainOptions":
        """Return these settings for one temperature: that of a run chosen among several."""
        return replace(self, temperature=temperature, temperatures=(), prune_after=0)

    def runs(self, seeds: Iterable[int]) -> list[Run]:
        """Return the runs with these settings, by seed; each seed has a run for each temperature."""
        chosen = self.temperatures or (self.temperature,)
        return [Run(seed, self.learning_rate, self.margin, temperature) for seed in seeds for temperature in chosen]
