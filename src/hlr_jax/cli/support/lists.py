"""Shows recommendations on the terminal, and the progress of a long command."""

import time
from typing import TYPE_CHECKING

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from hlr_jax.live_bar import LiveBar
from hlr_jax.terminal import as_markup

if TYPE_CHECKING:
    from hlr_jax.recommender.recommender import Recommender

_EVERY = 30.0  # seconds between two lines if there is no bar


class Progress(LiveBar):
    """Shows how many users have their lists: a bar on a terminal, a line every 30 seconds elsewhere."""

    def __init__(self) -> None:
        """Show nothing yet."""
        columns = TextColumn("users"), MofNCompleteColumn(), BarColumn(), TimeRemainingColumn(), TextColumn("left")
        super().__init__(Console(soft_wrap=True, highlight=False, emoji=False), *columns, description="", total=None)
        self._last, self._start, self._first = 0.0, time.monotonic(), -1

    def show(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` users have their lists."""
        if self._bar:
            self._bar.update(self._task, completed=done, total=total)
            return
        now = time.monotonic()
        self._first = done if self._first < 0 else self._first
        if now - self._last >= _EVERY or done == total:
            made = done - self._first
            left = f"  {(now - self._start) / made * (total - done):.0f} s left" if made > 0 and done < total else ""
            self._console.print(f"{done:,} of {total:,} users{left}", markup=False)
            self._last = now


def show_lists(frame: pl.DataFrame) -> None:
    """Print the lists of a few users as tables, with reasons if there are any."""
    console = Console(highlight=False, emoji=False)
    for (user,), rows in frame.group_by("user", maintain_order=True):
        table = Table("", "item", "title", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column("score", justify="right")
        for row in rows.iter_rows(named=True):
            reason = row.get("reason")
            title = as_markup(row["title"]) + (f"\n[dim]{as_markup(reason)}[/]" if reason else "")
            score = "popular" if row["score"] is None else f"{row['score']:.3f}"
            table.add_row(str(row["rank"]), as_markup(row["item"]), title, score)
        console.print(f"[bold]user {as_markup(user)}[/]")
        console.print(table)
    if frame.is_empty():
        console.print("no recommendations: no user is left, or no item is left for the users")


def show_samples(recommender: "Recommender", k: int = 3, num_reasons: int = 2) -> None:
    """Print the first recommendations for users with few, the median number of, and many items, with reasons."""
    from hlr_jax.serving.explain import because_of, gives_reasons
    from hlr_jax.serving.samples import sample_users

    console, dataset = Console(soft_wrap=True, highlight=False, emoji=False), recommender.dataset
    codes, reasons = sample_users(dataset), gives_reasons(recommender.model)
    users, degrees = dataset.user_ids.gather(codes), dataset.known.degrees(dataset.num_users)[codes]
    if not len(users):
        return
    lists = recommender.recommend(users.to_list(), k=k, num_reasons=num_reasons if reasons else 0)
    for user, count in zip(users, degrees, strict=True):
        console.print(f"[bold]user {as_markup(user)}[/] ({count} items):")
        for row in lists.filter(user=user).iter_rows(named=True):
            console.print(f"  {row['rank']}. {as_markup(row['title'])}")
            if reasons:
                console.print(f"     [dim]{as_markup(because_of(row['reason_titles'], row['reason_weights']))}[/]")
