"""Interactions as sorted columns of user and item numbers."""

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
        """Return the interactions where a mask [n] is true."""
        return Interactions(self.user[mask], self.item[mask])

    def of_users(self, users: np.ndarray) -> "Interactions":
        """Return the interactions of some users [b], renumbered by their positions in ``users``."""
        starts = np.searchsorted(self.user, users)
        counts = np.searchsorted(self.user, users, side="right") - starts
        place = np.repeat(np.arange(len(users), dtype=np.int32), counts)
        inside = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
        return Interactions(place, self.item[np.repeat(starts, counts) + inside])

    def degrees(self, num_users: int = 0) -> np.ndarray:
        """Return the number of interactions of each user [U], where U is at least ``num_users``."""
        return np.bincount(self.user, minlength=num_users)

    def item_degrees(self, num_items: int = 0) -> np.ndarray:
        """Return the number of interactions of each item [I], where I is at least ``num_items``."""
        return np.bincount(self.item, minlength=num_items)

    def transposed(self) -> "Interactions":
        """Return the interactions with users and items exchanged, sorted by item."""
        order = np.argsort(self.item, kind="stable")  # a stable sort keeps the users in order
        return Interactions(self.item[order], self.user[order])
