"""Finds how much memory a compiled program needs before it runs, from the compiler's plan."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import jax

_PLANS: WeakKeyDictionary[Any, dict[Any, tuple[int, int, int]]] = WeakKeyDictionary()


def planned(program: Callable[..., Any], *arguments: Any) -> tuple[int, int, int]:
    """Return the bytes that a jitted function needs on each device for these arguments, without running it.

    This compiles the function; a later call does not compile it again. Results are cached by shape.

    Returns:
      Bytes of the arguments, of temporary arrays, and of results. A result in the memory of an argument is counted
      with the arguments. All are 0 if the backend has no plan.
    """
    leaves, structure = jax.tree.flatten(arguments)
    key = structure, tuple((leaf.shape, str(leaf.dtype), getattr(leaf, "sharding", None)) for leaf in leaves)
    plans = _PLANS.setdefault(program, {})
    if key not in plans:
        plan = program.lower(*arguments).compile().memory_analysis()  # type: ignore[attr-defined]
        plans[key] = (0, 0, 0) if plan is None else (
            plan.argument_size_in_bytes, plan.temp_size_in_bytes,
            plan.output_size_in_bytes - plan.alias_size_in_bytes,
        )  # fmt: skip
    return plans[key]
