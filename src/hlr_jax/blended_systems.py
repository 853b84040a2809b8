"""What a blend is: parts by label, each a model or a scorer, with weights that sum to 1. Without JAX."""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Union

from hlr_jax.errors import InputError

if TYPE_CHECKING:
    from hlr_jax.models.base import Model
    from hlr_jax.scorers.base import Scorer

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_OFF = 1e-6  # by which a sum of weights may differ from 1


class Part(NamedTuple):
    """One system of a blend.

    Attributes:
      system: a model or a scorer.
      weight: w of its standardized scores.
      seed: of the draws of neighbors that a model reads, as in lists of the part alone.
      training: the ``TrainOptions`` that a model was trained with, which ``fold_in`` reads; None for a scorer.

    Example:
      >>> hlr_jax.Part(model, weight=0.5, training=options).system.title
      'CML'
    """

    system: Union["Model", "Scorer"]
    weight: float
    seed: int = 0
    training: Any = None


@dataclass(frozen=True)
class Blend:
    """Several systems as one: an item's score is sum_p w_p z_p(u, v).

    z_p(u, v) = (s_p(u, v) - mean) / std is the score of part p, standardized for user u over all items of the catalog.
    So parts whose scores have other scales count by their weights alone. Where a part scores all items alike, z_p is 0.

    A blend stands wherever a model or a scorer does. Its parameters are those of its parts by label.

    Attributes:
      parts: each by its label: letters, digits, ".", "_" and "-".

    Raises:
      InputError: no part, a label that is none, a part that is a blend, or weights below 0 or that do not sum to 1.

    Example:
      >>> from hlr_jax.scorers.ease import Ease
      >>> from hlr_jax.scorers.popularity import Popularity
      >>> blend = hlr_jax.Blend({"ease": hlr_jax.Part(Ease(), 0.75), "popularity": hlr_jax.Part(Popularity(), 0.25)})
      >>> blend.title, blend.weights
      ('EASE + Popularity', {'ease': 0.75, 'popularity': 0.25})
    """

    parts: Mapping[str, Part]

    name: ClassVar[str] = "blend"

    def __post_init__(self) -> None:
        """Check labels and weights."""
        self.check_labels(self.parts)
        for label, part in self.parts.items():
            if isinstance(part.system, Blend):
                raise InputError(f"part {label} is a blend: blend its parts instead")
            if not (math.isfinite(part.weight) and part.weight >= 0):
                raise InputError(f"the weight of part {label} is {part.weight}; it must be 0 or more")
        total = sum(self.weights.values())
        if abs(total - 1) > _OFF:
            raise InputError(f"the weights of a blend sum to {total:g}; they must sum to 1")

    @staticmethod
    def check_labels(labels: Collection[str]) -> None:
        """Check the labels of parts.

        Raises:
          InputError: there is none, or one that is none.
        """
        if not labels:
            raise InputError("a blend needs at least one part")
        for label in labels:
            if not _LABEL.fullmatch(label):
                raise InputError(f'"{label}" is no label of a blend\'s part: letters, digits, ".", "_" and "-"')

    @property
    def title(self) -> str:
        """The parts' names for people, each once."""
        titles = [part.system.title for part in self.parts.values()]
        named = (f"{titles.count(title)} x {title}" if titles.count(title) > 1 else title for title in titles)
        return " + ".join(dict.fromkeys(named))

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each part, by label."""
        return {label: part.weight for label, part in self.parts.items()}

    @property
    def options(self) -> tuple[tuple[str, Any], ...]:
        """What tells two blends apart: each part's system, options, seed and weight."""
        return tuple(
            (label, (part.system.name, part.system.options, part.seed, part.weight))
            for label, part in self.parts.items()
        )

    @classmethod
    def equal(cls, parts: Mapping[str, Part]) -> "Blend":
        """Return the blend of parts with equal weights, whatever weights they have."""
        return cls({label: part._replace(weight=1 / len(parts)) for label, part in parts.items()})

    def weighted(self, weights: Mapping[str, float]) -> "Blend":
        """Return the blend with other weights, without the parts that weigh 0.

        Args:
          weights: by label; of all parts.

        Raises:
          InputError: a label is unknown or missing, or see ``Blend``.
        """
        for label in {**self.parts, **weights}:
            if label not in self.parts or label not in weights:
                known = ", ".join(self.parts)
                what = "is no part of the blend" if label not in self.parts else "has no weight"
                raise InputError(f'part "{label}" {what}; pass a weight for each of {known}')
        whole = Blend({label: part._replace(weight=float(weights[label])) for label, part in self.parts.items()})
        return Blend({label: part for label, part in whole.parts.items() if part.weight})
