"""Metrics as tables for people."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_SHOWN = {
    "ndcg": "ndcg",
    "map": "map",
    "mrr": "mrr",
    "precision": "prec",
    "recall": "recall",
    "hit_rate": "hits",
    "median_popularity": "popul",
    "coverage": "cover",
}


def print_metrics(rows: dict[str, dict[str, Any]]) -> None:
    """Print one row of metrics for each name; all rows have the same K. It fits in 80 columns.

    Under a row of several seeds stands the standard deviation of each metric over them; under one with cohorts of
    users, that over the cohorts of its first seed.
    """
    if not rows:
        return
    k = next(key for key in next(iter(rows.values())) if key.startswith("ndcg@")).split("@")[1]
    table = Table(f"at {k}", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for title in _SHOWN.values():
        table.add_column(title, justify="right", no_wrap=True)
    for system, metrics in rows.items():
        values = [metrics[f"{name}@{k}"] for name in _SHOWN]
        table.add_row(system, *(f"{value:.0f}" if value > 1 else f"{value:.4f}" for value in values))
        if std := metrics.get("std"):
            spreads = [std[f"{name}@{k}"] for name in _SHOWN]
            table.add_row("  std, seeds", *(f"{value:.0f}" if value > 1 else f"{value:.4f}" for value in spreads))
        if cohorts := metrics.get("seeds", [{}])[0].get("cohorts"):
            spreads = [cohorts[f"{name}@{k}"]["std"] for name in _SHOWN if f"{name}@{k}" in cohorts]
            table.add_row("  std, cohorts", *(f"{value:.4f}" for value in spreads))
    Console().print(table)
