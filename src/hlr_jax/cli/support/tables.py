"""Tables of metrics on the terminal."""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from hlr_jax.evaluation.results import Metrics
from hlr_jax.terminal import as_markup

if TYPE_CHECKING:
    from hlr_jax.auto.run import AutoResult
    from hlr_jax.evaluation.significance import Difference
    from hlr_jax.experiment import RunResult
    from hlr_jax.serving.reason_quality import ReasonQuality

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
_BY_PROTOCOL = {"map": "MAP", "mrr": "MRR", "median_popularity": "Popularity"}


def print_metrics(rows: Mapping[str, Metrics]) -> None:
    """Print one row of metrics for each name, in a table for each K that all have. It fits in 80 columns.

    The title names split, users, items and K. MAP, MRR and popularity are those of the protocol, with a star where
    they differ from the standard definition. A row of several seeds is followed by the standard deviation of each
    metric over them. A row with cohorts of users is followed by that over the cohorts of its first seed.
    """
    if not rows:
        return
    first = next(iter(rows.values()))
    chosen = {shown: first.names.get(_BY_PROTOCOL.get(shown, ""), shown) for shown in _SHOWN}
    other = [shown for shown, name in chosen.items() if shown in ("map", "mrr") and name != shown]
    for k in first.k:
        if any(k not in metrics.k for metrics in rows.values()):
            continue
        table = titled_table(f"{sizes_of(rows.values())}; K = {k}")
        for shown, title in _SHOWN.items():
            table.add_column(f"{title}*" if shown in other else title, justify="right", no_wrap=True)
        for system, metrics in rows.items():
            table.add_row(as_markup(system), *(_number(metrics.value(name, k), name) for name in chosen.values()))
            if len(metrics.seeds) > 1:
                table.add_row("  std, seeds", *(_number(metrics.std(name, k), name) for name in chosen.values()))
            if cohorts := metrics.cohorts:
                stds = [_number(cohorts[name, k][0][1], name) for name in chosen.values() if (name, k) in cohorts]
                table.add_row("  std, cohorts", *stds)
        Console(emoji=False).print(table)
    if other:
        definitions = ", ".join(f"{shown} is {chosen[shown]}" for shown in other)
        print(f"* as protocol {first.protocol} defines it: {definitions}")


def sizes_of(measured: Iterable[Metrics]) -> str:
    """Return the title of metrics: the users of each split, and the number of items."""
    users = dict.fromkeys(f"{metrics.split}: {metrics.users:,} users" for metrics in measured)
    items = dict.fromkeys(f"{metrics.items:,} items" for metrics in measured)
    return ", ".join([*users, *items])


def titled_table(title: str, name: str = "") -> Table:
    """Return an empty table with a title, and a first column of names."""
    return Table(
        name, title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0),
        pad_edge=False,
    )  # fmt: skip


def chosen_by_validation(done: "RunResult") -> str:
    """Return the choices of validation as text: epoch and temperature, or the settings of a scorer."""
    from hlr_jax.models.base import Model

    fits, system = done.fits, done.parts.model
    validated = all(fit.best_value is not None for fit in fits)
    if not isinstance(system, Model):  # a scorer, whose epochs are the values of its settings
        best = "best " if validated and any(len(fit.history) > 1 for fit in fits) else ""
        values = [f"{best}{name} {', '.join(map(str, values))}" for name, values in system.options]
        return ", ".join(values) or system.title
    epochs = ", ".join(str(fit.best_epoch) for fit in fits)
    if not validated:
        return f"last epoch {epochs} (there is no validation)"
    words = f"best epoch {epochs}"
    if len(done.parts.train.temperatures) > 1:
        words += f", best temperature {', '.join(f'{fit.run.temperature:g}' for fit in fits)}"
        if equals := dict.fromkeys(f"{value:g}" for fit in fits for value in fit.equals):
            words += f" ({', '.join(equals)} validated equally well; the first is kept)"
    return words


def print_auto(found: "AutoResult") -> None:
    """Print metrics and seconds of each part, those of the blend under them, and which is recommended."""
    name, k = found.blend.parts.eval.of_lists.monitored
    table = titled_table(f"{name}@{k}; {sizes_of(found.metrics.values())}")
    for title in ("weight", "valid", "test", "seconds"):
        table.add_column(title, justify="right", no_wrap=True)

    def cells(metrics: Mapping[str, Metrics]) -> list[str]:
        return [_number(metrics[split].value(name, k), name) if split in metrics else "" for split in ("valid", "test")]

    for label, part in found.parts.items():
        title = f"{label}: {part.title}"
        table.add_row(as_markup(title), f"{part.weight:g}", *cells(part.metrics), f"{part.seconds:.1f}")
    table.add_row("blend", "", *cells(found.metrics), f"{found.seconds:.1f}")
    Console(emoji=False).print(table)
    print(found.verdict)


def _number(value: float | None, name: str) -> str:
    """Return a metric's value: four decimals, or none for a number of users; a dash where there is no value."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.0f}" if "popularity" in name else f"{value:.4f}"


def print_differences(differences: Mapping[str, "Difference"]) -> None:
    """Print the differences of the best system from each other one: a row for each, with interval and p-value."""
    table = Table("better than", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for title in ("by", "95 % interval", "adjusted p"):
        table.add_column(title, justify="right", no_wrap=True)
    for system, (mean, low, high, p_value) in differences.items():
        table.add_row(as_markup(system), f"{mean:.4f}", f"{low:.4f} to {high:.4f}", f"{p_value:.2g}")
    Console(emoji=False).print(table)


def print_reasons(title: str, found: "ReasonQuality") -> None:
    """Print how well deletion supports the reasons of a system."""
    table = titled_table(f"reasons of {title}: {found.users} users, {found.k} items each")
    table.add_column("", justify="right")
    for words, text in found.rows():
        table.add_row(words, text)
    Console(emoji=False).print(table)
