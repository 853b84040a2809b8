"""A progress bar for long work on a terminal; nothing elsewhere."""

from contextlib import ExitStack
from typing import Any, Self

from rich.console import Console
from rich.progress import Progress, ProgressColumn

from hlr_jax.ending import undone_by


class LiveBar:
    """A context manager that shows a bar while it is open; the last state stays on the screen."""

    def __init__(self, console: Console, *columns: ProgressColumn, shown: bool = True, **fields: Any):
        """Create a bar of columns for a task with ``fields``, if the console is a terminal and ``shown`` is true."""
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
            self._until_closed.enter_context(undone_by(self._bar.stop))  # shows the cursor again, which a bar hides
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop the bar."""
        self._until_closed.close()
