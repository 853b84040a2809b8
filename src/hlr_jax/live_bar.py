"""A bar that shows how far a long work has come, on a terminal; nothing elsewhere."""

from contextlib import ExitStack
from typing import Any, Self

from rich.console import Console
from rich.progress import Progress, ProgressColumn

from hlr_jax.ending import undone_by


class LiveBar:
    """A context manager that shows a bar while it is open; what it showed last stays."""

    def __init__(self, console: Console, *columns: ProgressColumn, shown: bool = True, **fields: Any):
        """Make a bar of columns for a task with ``fields``, if the console is a terminal and it is to be ``shown``."""
        self._console, self._until_closed = console, ExitStack()
        self._bar: Progress | None = None
        if console.is_terminal and shown:
            self._bar = Progress(*columns, console=console)
            self._task = self._bar.add_task(**fields)

    def __enter__(self) -> Self:
        """Start the bar."""
        if self._bar:
            self._bar.start()
            self._until_closed.callback(self._bar.stop)
            self._until_closed.enter_context(undone_by(self._bar.stop))  # the cursor, which a bar hides, comes back
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop the bar."""
        self._until_closed.close()
