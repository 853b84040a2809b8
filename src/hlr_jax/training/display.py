"""Shows the progress of a training: a live bar on a terminal, plain lines elsewhere."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

from hlr_jax.live_bar import LiveBar


class Display(LiveBar):
    """Shows epochs as they end: a context manager.

    ``quiet`` shows nothing. Otherwise it shows a bar where the console is a terminal, and a line per epoch elsewhere.
    """

    def __init__(self, label: str, total: int, *, quiet: bool = False, console: Console | None = None):
        """Show ``total`` epochs under a label."""
        # The bar fits in 80 columns; the terminal wraps permanent lines.
        super().__init__(
            console or Console(soft_wrap=True, highlight=False),
            TextColumn("{task.description} {task.completed}/{task.total}"), BarColumn(bar_width=5),
            TextColumn("{task.fields[metrics]}"), TimeRemainingColumn(compact=True),
            shown=not quiet, description=label, total=total, metrics="compiling",
        )  # fmt: skip
        self._label, self._total, self._quiet, self._shown = label, total, quiet, 0

    def begin(self, done: int, line: str) -> None:
        """Show a line, and a bar at ``done`` epochs."""
        self.say(line)
        if self._bar:
            self._bar.update(self._task, completed=done)

    def say(self, line: str) -> None:
        """Show a permanent line."""
        if not self._quiet:
            self._console.print(line, markup=False)

    def epoch(self, record: dict[str, Any]) -> None:
        """Show one line of ``metrics.jsonl``."""
        epoch = record["epoch"]
        if self._bar:
            self._bar.update(self._task, completed=epoch, metrics=describe(record, short=True))
        elif not self._quiet:
            # The first epoch is mostly compilation, so its time does not predict the time of the others.
            left = f"{record['seconds'] * (self._total - epoch):.0f} s left" if self._shown else "compiled"
            left = left if epoch else f"in {record['seconds']:.0f} s"
            self._console.print(f"{self._label} {epoch}/{self._total} {describe(record)} {left}", markup=False)
        self._shown += epoch > 0


def describe(record: dict[str, Any], *, short: bool = False) -> str:
    """Return the metrics of an epoch as readable text."""
    digits = 3 if short else 4
    shown = {"loss": record["train_loss"]} if "train_loss" in record else {}
    for name in record:
        if name.startswith("valid_"):
            kind = name.removeprefix("valid_")
            shown["valid" if kind == "loss" else kind.split("@")[0] if short else kind] = record[name]
    metrics = [f"{name} {value:.{digits}f}" for name, value in shown.items()]
    return " ".join(metrics + ([_rate(record["positives_per_s"])] if "positives_per_s" in record else []))


def _rate(per_second: float) -> str:
    """Return positives per second, short enough for the bar on any device."""
    return f"{per_second / 1e6:.1f}M/s" if per_second >= 1e6 else f"{per_second / 1e3:.0f}k/s"
