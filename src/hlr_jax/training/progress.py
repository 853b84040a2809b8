"""What a person sees of a running training: a live bar on a terminal, plain lines elsewhere."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Display:
    """Shows epochs as they end: a context manager.

    ``quiet`` shows nothing; otherwise a bar where the console is a terminal, and a line per epoch where it is not.
    """

    def __init__(self, label: str, total: int, done: int, *, quiet: bool = False, console: Console | None = None):
        """Start at ``done`` of ``total`` epochs."""
        self._console = console or Console(soft_wrap=True, highlight=False)
        self._label, self._total, self._quiet = label, total, quiet
        self._bar: Progress | None = None
        if self._console.is_terminal and not quiet:
            self._bar = Progress(
                SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24),
                TextColumn("{task.completed}/{task.total}"), TextColumn("{task.fields[figures]}"),
                TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=self._console,
            )  # fmt: skip
            self._task = self._bar.add_task(label, total=total, completed=done, figures="compiling")

    def __enter__(self) -> "Display":
        """Start the bar."""
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop the bar; what it showed last stays."""
        if self._bar:
            self._bar.stop()

    def epoch(self, record: dict[str, Any]) -> None:
        """Show one line of ``metrics.jsonl``."""
        figures = describe(record)
        if self._bar:
            self._bar.update(self._task, completed=record["epoch"], figures=figures)
        elif not self._quiet:
            left = record["seconds"] * (self._total - record["epoch"])
            self._console.print(
                f"{self._label} epoch {record['epoch']}/{self._total}  {figures}  {left:.0f} s left", markup=False
            )


def describe(record: dict[str, Any]) -> str:
    """Return an epoch's figures as a person reads them."""
    parts = [f"loss {record['train_loss']:.4f}"]
    parts += [f"{name.replace('_', ' ')} {record[name]:.4f}" for name in record if name.startswith("valid_")]
    return "  ".join([*parts, f"{record['triplets_per_s']:,.0f} triplets/s"])
