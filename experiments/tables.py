"""Figures as tables for people."""

from typing import Any

from rich.console import Console
from rich.table import Table

_SHOWN = ("ndcg", "map", "mrr", "precision", "recall", "hit_rate", "median_popularity", "coverage")


def print_metrics(rows: dict[str, dict[str, Any]]) -> None:
    """Print one row of metrics for each name; all rows have the same K."""
    if not rows:
        return
    k = next(key for key in next(iter(rows.values())) if key.startswith("ndcg@")).split("@")[1]
    table = Table(title=f"metrics at {k}")
    table.add_column("system")
    for name in _SHOWN:
        table.add_column(name.replace("_", " "), justify="right")
    for system, metrics in rows.items():
        values = [metrics[f"{name}@{k}"] for name in _SHOWN]
        table.add_row(system, *(f"{value:.0f}" if value > 1 else f"{value:.4f}" for value in values))
    # Cells are never cut: where output is no terminal, the table takes the width it needs.
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    console.print(table)
