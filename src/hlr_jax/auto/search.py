"""A coordinate-wise hill climb, for searches with few measurements."""

from collections.abc import Callable, Sequence
from typing import Any

Point = dict[str, Any]
Move = Callable[[Point, int], Point | None]
"""(point, 1 or -1) -> the next point in that direction, or None if there is none."""


class Climb:
    """Finds a good point, starting from one that is good for most data.

    Each move is repeated as long as it helps, in one direction or, failing that, in the other. No point is measured
    twice.

    Attributes:
      best: the best point so far.
      best_value: its value.
      values: the value of each measured point, in order.
    """

    def __init__(
        self, measure: Callable[[Point], float], start: Point, may_continue: Callable[[], bool] = lambda: True
    ):
        """Measure the start.

        Args:
          measure: point -> value, higher is better.
          start: the first point.
          may_continue: called before each further measurement; the search ends when it returns false.
        """
        self._measure, self._may_continue = measure, may_continue
        self.values: list[tuple[Point, float]] = []
        self.best = start
        self.best_value = self._value(start)

    def along(self, *moves: Move) -> "Climb":
        """Repeat each move in turn as long as it helps."""
        for move in moves:
            for direction in (1, -1):
                if self._walk(move, direction):
                    break
        return self

    def _walk(self, move: Move, direction: int) -> bool:
        """Move in a direction as long as that helps, and return whether it ever did."""
        moved = False
        while self._may_continue() and (point := move(self.best, direction)) is not None:
            value = self._value(point)
            if value <= self.best_value:
                break
            self.best, self.best_value, moved = point, value, True
        return moved

    def _value(self, point: Point) -> float:
        known = [value for tried, value in self.values if tried == point]
        if known:
            return known[0]
        value = self._measure(point)
        self.values.append((point, value))
        return value


def to_next(name: str, values: Sequence[float]) -> Move:
    """Return the move of a setting to the next or previous of some values.

    Example:
      >>> to_next("a", (1, 2, 5))({"a": 2}, 1)
      {'a': 5}
    """

    def move(point: Point, direction: int) -> Point | None:
        place = values.index(point[name]) + direction
        return point | {name: values[place]} if 0 <= place < len(values) else None

    return move


def scaled(factor: float, *names: str) -> Move:
    """Return the move that multiplies settings by a factor, or divides them by it.

    Example:
      >>> scaled(2.0, "a", "b")({"a": 3.0, "b": 1.0, "c": 1.0}, -1)
      {'a': 1.5, 'b': 0.5, 'c': 1.0}
    """
    return lambda point, direction: point | {name: point[name] * factor**direction for name in names}
