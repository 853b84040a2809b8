"""What compiled programs need, before they run: the compiler's own plan of their memory."""

from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import jax


class Plan(NamedTuple):
    """Bytes on each device: ``arguments`` that are given, ``temporary`` ones, and ``results``.

    Results that take the place of an argument are counted with the arguments.
    """

    arguments: int
    temporary: int
    results: int


_PLANS: WeakKeyDictionary[Any, dict[Any, Plan]] = WeakKeyDictionary()


def planned(program: Callable[..., Any], *arguments: Any) -> Plan:
    """Return what a jitted function needs for these arguments, which it does not run on.

    It is compiled for this, and not again when it is called. What was planned once is remembered by shape.
    """
    leaves, structure = jax.tree.flatten(arguments)
    described = tuple((leaf.shape, str(leaf.dtype), getattr(leaf, "sharding", None)) for leaf in leaves)
    plans = _PLANS.setdefault(program, {})
    if (structure, described) not in plans:
        analysis = program.lower(*arguments).compile().memory_analysis()  # type: ignore[attr-defined]
        # Some backends have no plan; then nothing is known, and nothing is held against the program.
        plans[structure, described] = Plan(0, 0, 0)
        if analysis is not None:
            results = analysis.output_size_in_bytes - analysis.alias_size_in_bytes
            plans[structure, described] = Plan(analysis.argument_size_in_bytes, analysis.temp_size_in_bytes, results)
    return plans[structure, described]
