"""Arguments of compiled programs without repetition: an array that occurs twice in a tree is passed once.

A compiler treats every argument as a separate array. It plans memory for each, and refuses a program whose arguments
would not fit together.
"""

from typing import Any, Generic, TypeVar

import jax
from flax import struct

T = TypeVar("T")


@struct.dataclass
class Distinct(Generic[T]):
    """A tree of arrays, each of them once; from ``distinct``.

    Attributes:
      arrays: the arrays.
      places: for each leaf of the tree, its place among the arrays (static).
      structure: of the tree (static).
    """

    arrays: tuple[jax.Array, ...]
    places: tuple[int, ...] = struct.field(pytree_node=False)
    structure: Any = struct.field(pytree_node=False)

    @property
    def tree(self) -> T:
        """The tree."""
        whole: T = jax.tree.unflatten(self.structure, [self.arrays[place] for place in self.places])
        return whole


def distinct(tree: T) -> Distinct[T]:
    """Return a tree with each of its arrays once.

    Example:
      >>> import jax.numpy as jnp
      >>> ones = jnp.ones(3)
      >>> packed = distinct({"a": ones, "b": ones})
      >>> len(packed.arrays), sorted(packed.tree)
      (1, ['a', 'b'])
    """
    leaves, structure = jax.tree.flatten(tree)
    first: dict[int, int] = {}
    places = tuple(first.setdefault(id(leaf), len(first)) for leaf in leaves)
    arrays = {place: leaf for place, leaf in zip(places, leaves, strict=True)}
    return Distinct(tuple(arrays[place] for place in range(len(first))), places, structure)
