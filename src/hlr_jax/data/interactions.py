"""Interactions by position, in memory or in a file of which only what is asked for is read."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from hlr_jax.errors import InputError


class Interactions:
    """Interactions, sorted by user, then item: ``user`` [n] and ``item`` [n], int32.

    These two columns are everything, and each process that touches them has everything. ``between``, ``degrees`` and
    ``item_degrees`` say the same of a part: a process that asks them alone reads its own share of a file.
    """

    def __init__(self, user: np.ndarray, item: np.ndarray) -> None:
        """Hold two columns [n] that are sorted already."""
        self._user, self._item = user, item

    @property
    def user(self) -> np.ndarray:
        """The users [n]."""
        return self._user

    @property
    def item(self) -> np.ndarray:
        """The items [n]."""
        return self._item

    def __len__(self) -> int:
        """Return n."""
        return len(self.user)

    def __add__(self, other: "Interactions") -> "Interactions":
        """Return the union of two disjoint sets of interactions."""
        return _Union(self, other)

    def where(self, mask: np.ndarray) -> "Interactions":
        """Return those that a mask [n] keeps."""
        return Interactions(self.user[mask], self.item[mask])

    def between(self, start: int, stop: int) -> "Interactions":
        """Return those at the positions ``start`` up to ``stop``."""
        return Interactions(self.user[start:stop], self.item[start:stop])

    def degrees(self, num_users: int = 0) -> np.ndarray:
        """Return how many interactions each user has [U], U the larger of ``num_users`` and all users here."""
        return np.bincount(self.user, minlength=num_users)

    def item_degrees(self, num_items: int = 0) -> np.ndarray:
        """Return how many interactions each item has [I], I the larger of ``num_items`` and all items here."""
        return np.bincount(self.item, minlength=num_items)

    def transposed(self) -> "Interactions":
        """Return the same with the sides exchanged: each item's users."""
        order = np.lexsort((self.user, self.item))
        return Interactions(self.item[order], self.user[order])


class StoredInteractions(Interactions):
    """Consecutive rows of a Parquet file; a column is read when it is first touched."""

    def __init__(self, path: Path, columns: tuple[str, str], first: int, count: int) -> None:
        """Name ``count`` rows of a file from the row ``first`` on, and its columns of users and items."""
        self._path, self._columns, self._first, self._count = path, columns, int(first), int(count)

    @cached_property
    def user(self) -> np.ndarray:
        """See ``Interactions``."""
        return self._read(self._columns[0])

    @cached_property
    def item(self) -> np.ndarray:
        """See ``Interactions``."""
        return self._read(self._columns[1])

    def _read(self, column: str) -> np.ndarray:
        # The reader skips all groups of rows that the slice does not touch.
        rows = pl.scan_parquet(self._path, glob=False).select(column).slice(self._first, self._count)
        try:
            return rows.collect()[column].to_numpy()
        except (pl.exceptions.PolarsError, OSError) as problem:
            raise InputError(
                f"{self._path}: gone or damaged: {str(problem).splitlines()[0]}; delete {self._path.parent}"
            ) from None

    def __len__(self) -> int:
        """See ``Interactions``."""
        return self._count

    def between(self, start: int, stop: int) -> Interactions:
        """See ``Interactions``."""
        start, stop = min(start, len(self)), min(stop, len(self))
        return StoredInteractions(self._path, self._columns, self._first + start, stop - start)

    def loaded(self) -> Interactions:
        """Return the same in memory, whatever becomes of the file."""
        return Interactions(self.user, self.item)


class StoredSplit(StoredInteractions):
    """A split of a stored data set: what its counts say is not read again, and its other order lies in a file too."""

    def __init__(
        self, paths: tuple[Path, Path], columns: tuple[str, str], first: int, degrees: tuple[np.ndarray, np.ndarray]
    ) -> None:
        """Name a split by its two files, the columns, its first row, and the degrees of users [U] and items [I]."""
        super().__init__(paths[0], columns, first, int(degrees[0].sum()))
        self._paths, self._degrees = paths, degrees

    def degrees(self, num_users: int = 0) -> np.ndarray:
        """See ``Interactions``."""
        return _padded(self._degrees[0], num_users)

    def item_degrees(self, num_items: int = 0) -> np.ndarray:
        """See ``Interactions``."""
        return _padded(self._degrees[1], num_items)

    def transposed(self) -> Interactions:
        """See ``Interactions``."""
        return StoredSplit(self._paths[::-1], self._columns[::-1], self._first, self._degrees[::-1])


class _Union(Interactions):
    """Disjoint interactions, of which a part is merged when it is asked for."""

    def __init__(self, *parts: Interactions) -> None:
        """Hold the parts."""
        self._parts = parts

    @cached_property
    def _whole(self) -> Interactions:
        return _merged(self._parts)

    @cached_property
    def _offsets(self) -> list[np.ndarray]:
        """Of each part, where the interactions of each user begin [U + 1]."""
        counts = [part.degrees() for part in self._parts]
        longest = max(map(len, counts))
        return [np.concatenate([[0], np.cumsum(_padded(count, longest))]) for count in counts]

    @property
    def user(self) -> np.ndarray:
        """See ``Interactions``."""
        return self._whole.user

    @property
    def item(self) -> np.ndarray:
        """See ``Interactions``."""
        return self._whole.item

    def __len__(self) -> int:
        """See ``Interactions``."""
        return sum(map(len, self._parts))

    def between(self, start: int, stop: int) -> Interactions:
        """See ``Interactions``."""
        total = np.sum(self._offsets, axis=0)
        # Whole rows of users are merged, and what is too much of the first and last is cut off.
        first, last = int(np.searchsorted(total, start, side="right")) - 1, int(np.searchsorted(total, stop))
        last = max(first, last)
        rows = _merged([part.between(o[first], o[last]) for part, o in zip(self._parts, self._offsets, strict=True)])
        return rows.between(start - total[first], stop - total[first])

    def degrees(self, num_users: int = 0) -> np.ndarray:
        """See ``Interactions``."""
        return _sum([part.degrees(num_users) for part in self._parts])

    def item_degrees(self, num_items: int = 0) -> np.ndarray:
        """See ``Interactions``."""
        return _sum([part.item_degrees(num_items) for part in self._parts])

    def transposed(self) -> Interactions:
        """See ``Interactions``."""
        return _Union(*(part.transposed() for part in self._parts))


def _padded(counts: np.ndarray, length: int) -> np.ndarray:
    return np.pad(counts, (0, max(0, length - len(counts))))


def _sum(counts: list[np.ndarray]) -> np.ndarray:
    longest = max(map(len, counts))
    return np.sum([_padded(each, longest) for each in counts], axis=0)


def _merged(parts: Sequence[Interactions]) -> Interactions:
    user, item = (np.concatenate([getattr(part, name) for part in parts]) for name in ("user", "item"))
    order = np.lexsort((item, user))
    return Interactions(user[order], item[order])
