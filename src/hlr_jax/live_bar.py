"""A bar that shows how far a long work has come, on a terminal; nothing elsewhere."""

from typing import Any, Self

from rich.console import Console
from rich.progress import Progress, ProgressColumn


class LiveBar:
    """A context manager that shows a bar while it is open; what it showed last stays."""

    def __init__(self, console: Console, *columns: ProgressColumn, shown: bool = True, **fields: Any):
        """Make a bar of columns for a task with ``fields``, if the console is a terminal and it is to be ``shown``."""
        self._console = console
        self._bar: Progress | None = None
        if console.is_terminal and shown:
            self._bar = Progress(*columns, console=console)
            self._task = self._bar.add_task(**fields)

    def __enter__(self) -> Self:
        """Start the bar."""
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop the bar."""
        if self._bar:
            self._bar.stop()
