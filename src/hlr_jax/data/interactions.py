"""Who interacted with what: the columns that every other form of the data is made from."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Interactions:
    """Interactions, sorted by user, then item: ``user`` [n] and ``item`` [n], int32."""

    user: np.ndarray
    item: np.ndarray

    def __len__(self) -> int:
        """Return n."""
        return len(self.user)

    def __add__(self, other: "Interactions") -> "Interactions":
        """Return the union of two disjoint sets of interactions."""
        if not len(self) or not len(other):
            return self if len(self) else other
        user, item = (np.concatenate([getattr(part, name) for part in (self, other)]) for name in ("user", "item"))
        # A stable sort merges two sorted runs in one pass.
        order = np.argsort(user.astype(np.int64) * (int(item.max()) + 1) + item, kind="stable")
        return Interactions(user[order], item[order])

    def where(self, mask: np.ndarray) -> "Interactions":
        """Return those that a mask [n] keeps."""
        return Interactions(self.user[mask], self.item[mask])

    def of_users(self, users: np.ndarray) -> "Interactions":
        """Return those of some users [b], whose numbers are then their places in ``users``."""
        starts = np.searchsorted(self.user, users)
        counts = np.searchsorted(self.user, users, side="right") - starts
        place = np.repeat(np.arange(len(users), dtype=np.int32), counts)
        inside = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
        return Interactions(place, self.item[np.repeat(starts, counts) + inside])

    def degrees(self, num_users: int = 0) -> np.ndarray:
        """Return how many interactions each user has [U], U the larger of ``num_users`` and all users here."""
        return np.bincount(self.user, minlength=num_users)

    def item_degrees(self, num_items: int = 0) -> np.ndarray:
        """Return how many interactions each item has [I], I the larger of ``num_items`` and all items here."""
        return np.bincount(self.item, minlength=num_items)

    def transposed(self) -> "Interactions":
        """Return the same with the sides exchanged: each item's users."""
        order = np.argsort(self.item, kind="stable")  # users are in order already
        return Interactions(self.item[order], self.user[order])
