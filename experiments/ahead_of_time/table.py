"""Records of compiled programs as a page of Markdown."""

from collections.abc import Iterable
from typing import Any

_HEADINGS = (
    "size", "model", "program", "mesh", "arguments", "temporary", "by formula", "in all", "fits",
    "collectives of a step", "whole table", "copied a step", "compiler's step", "roofline's", "compile s",
)  # fmt: skip

_HEAD = (
    "# Programs compiled for accelerators", "",
    "Made by `experiments/accelerators.py`. Bytes are of a device. [What the columns mean](../accelerators.md).",
    "",
)  # fmt: skip


def markdown(records: Iterable[dict[str, Any]]) -> str:
    """Return a table for each target."""
    by_target: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        by_target.setdefault(record["target"], []).append(record)
    tables = (part for target, rows in by_target.items() for part in _table(target, rows))
    return "\n".join([*_HEAD, *tables]).rstrip() + "\n"


def _table(target: str, records: list[dict[str, Any]]) -> list[str]:
    lines = [f"## {target}", "", _row(_HEADINGS), _row("---" for _ in _HEADINGS)]
    lines += [_row(_cells(record)) for record in records]
    reasons = dict.fromkeys(f"- {record['size']}: {record['why']}" for record in records if "why" in record)
    return [*lines, "", *reasons, *([""] if reasons else [])]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(record: dict[str, Any]) -> list[str]:
    state = record.get("formula_state_bytes")
    formula = None if state is None else state + record["interaction_bytes"] + record["formula_temporary_bytes"]
    found = record.get("collectives", {})
    moved = ", ".join(f"{kind} {one['count']}: {amount(one['bytes'])}" for kind, one in found.items())
    outcome = "yes" if record.get("fits") else "no" if "fits" in record else record["outcome"]
    whole = "" if "whole_tables" not in record else "yes" if record["whole_tables"] else "no"
    return [
        record["size"], record["model"], record["program"], record["mesh"],
        *(amount(record.get(name)) for name in ("argument_bytes", "temporary_bytes")), amount(formula),
        amount(record.get("needed_bytes")), outcome, moved, whole, amount(record.get("copied_in_loops_bytes")),
        *(milliseconds(record.get(name)) for name in ("estimated_step_s", "roofline_step_s")),
        f"{record['compile_s']:.0f}" if "compile_s" in record else "",
    ]  # fmt: skip


def amount(count: float | None) -> str:
    """Return bytes for people, in units of a thousand.

    Example:
      >>> amount(16_000_000_000), amount(1234), amount(None)
      ('16.0 GB', '1.2 kB', '')
    """
    if count is None:
        return ""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"


def milliseconds(seconds: float | None) -> str:
    """Return seconds as milliseconds, for people."""
    return "" if seconds is None else f"{1e3 * seconds:.3g} ms"
