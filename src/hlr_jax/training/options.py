"""The settings of training, checked where they are made."""

from dataclasses import dataclass

from hlr_jax.errors import UserError, pick
from hlr_jax.losses import OBJECTIVES
from hlr_jax.models.base import check_range


@dataclass(frozen=True)
class TrainOptions:
    """How to train with triplets.

    Attributes:
      num_epochs: passes over the training interactions, at most.
      batch_size: B, triplets per step.
      learning_rate: of Adam, constant.
      margin: m of the hinge (eq. 8).
      num_negatives: n, negatives drawn for each triplet.
      objective: a name of ``losses.OBJECTIVES``: what the n negatives do in the hinge.
      patience: stop after so many epochs without a better one; 0: never.
      microbatch: triplets whose gradients are taken together before they are added up; the result does not depend on
        it, the speed does. 0: as many as fit in a CPU's cache, or the whole batch on an accelerator.
      checkpoint_every: epochs between checkpoints; the last epoch always makes one.

    Raises:
      UserError: a value out of range, by name.
    """

    num_epochs: int = 50
    batch_size: int = 1000
    learning_rate: float = 1e-3
    margin: float = 0.5
    num_negatives: int = 1
    objective: str = "hinge_hardest"
    patience: int = 0
    microbatch: int = 0
    checkpoint_every: int = 1

    def __post_init__(self) -> None:
        """Check every range."""
        infinity = float("inf")
        check_range(
            "train",
            num_epochs=(self.num_epochs, 1, infinity),
            batch_size=(self.batch_size, 1, infinity),
            learning_rate=(self.learning_rate, 0, 10),
            margin=(self.margin, 0, infinity),
            num_negatives=(self.num_negatives, 1, 65536),
            patience=(self.patience, 0, infinity),
            microbatch=(self.microbatch, 0, self.batch_size),
            checkpoint_every=(self.checkpoint_every, 1, infinity),
        )
        pick(self.objective, OBJECTIVES, "train.objective")
        if self.microbatch and self.batch_size % self.microbatch:
            raise UserError(f"train.microbatch ({self.microbatch}) must divide train.batch_size ({self.batch_size})")
