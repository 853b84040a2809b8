"""What compiled programs need, before they run: the compiler's own plan of their memory."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import jax

_PLANS: WeakKeyDictionary[Any, dict[Any, tuple[int, int, int]]] = WeakKeyDictionary()


def planned(program: Callable[..., Any], *arguments: Any) -> tuple[int, int, int]:
    """Return what a jitted function needs for these arguments, which it does not run on: bytes on each device.

    It is compiled for this, and not again when it is called. What was planned once is remembered by shape.

    Returns:
      Bytes of the arguments, of temporary arrays, and of results; a result that takes the place of an argument is
      counted with the arguments. All 0 where the backend has no plan: then nothing is held against the program.
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
