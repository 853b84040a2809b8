"""Measure the NDCG@10 of one system over time, from a cold process.

python experiments/curve.py ease $SPLITS/movielens-1m.parquet regularization=1000
python experiments/curve.py                                                         # lists the systems
python experiments/curve.py implicit_als                                            # lists a system's settings

Each line of JSON on stdout is a point: {"seconds": 1.4, "valid": 0.169, "test": 0.331}, NDCG@10 with seen items left
out. Seconds count from the start of the process, which ``benchmark.py --what=quality`` passes. ``test`` is null if
validation was better before. Systems of other packages need neither JAX nor hlr_jax.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from quality.stopwatch import Stopwatch

SYSTEMS = ("auto", "cornac_bpr", "ease", "implicit_als", "metric_model", "recbole_bpr")


def main() -> None:
    """Run the system of the first argument on the file of the second, with ``name=value`` options."""
    watch = Stopwatch()
    if len(sys.argv) < 2 or sys.argv[1] not in SYSTEMS:
        _fail(f"usage: python {sys.argv[0]} SYSTEM ...; systems: {', '.join(SYSTEMS)}")
    run = importlib.import_module(f"quality.{sys.argv[1]}").main
    path, options = _parsed(run, sys.argv[1], sys.argv[2:])
    run(watch, path, **options)


def _parsed(run: Callable[..., None], system: str, words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return the file and the options of ``run``, converted to its annotated types."""
    takes = dict(list(inspect.signature(run).parameters.items())[2:])  # after the stopwatch and the file
    shown = (name if p.default is p.empty else f"{name}={p.default}" for name, p in takes.items())
    usage = f"usage: python {sys.argv[0]} {system} SPLIT.parquet {' '.join(shown)}"
    options: dict[str, Any] = {}
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if not equals or name not in takes:
            _fail(f'"{word}" is not one of its options; {usage}')
        try:
            options[name] = takes[name].annotation(value)
        except ValueError:
            _fail(f'"{value}" is not a value of {name}; {usage}')
    if not words or any(p.default is p.empty and name not in options for name, p in takes.items()):
        _fail(usage)
    return words[0], options


def _fail(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
