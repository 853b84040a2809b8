"""Axes of a chart: from values to places, with ticks that people read."""

import math
from typing import NamedTuple

from hlr_jax.report.page.elements import Markup, element

WIDTH, HEIGHT = 360, 260
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 26, 40
_TICKS = 5


class Axis(NamedTuple):
    """A range of values, on a log scale if asked; ``low`` < ``high``, and 0 < ``low`` on a log scale.

    ``whole``: values are whole numbers, and so are the ticks.
    """

    label: str
    low: float
    high: float
    log: bool = False
    whole: bool = False

    def share(self, value: float) -> float:
        """Return where a value lies: 0 at ``low``, 1 at ``high``."""
        low, high, value = (math.log10(x) if self.log else x for x in (self.low, self.high, value))
        return (value - low) / (high - low)

    def ticks(self) -> list[float]:
        """Return round values within the range, about five; on a log scale 1, 2 and 5 or powers of ten."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = (1, 2, 5) if len(decades) <= 3 else (1,)
            inside = [step * 10.0**d for d in decades for step in steps if self._has(step * 10.0**d)]
            return inside[:: -(-len(inside) // 7)] if inside else [self.low, self.high]
        rough = (self.high - self.low) / _TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
        step = max(1, step) if self.whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [n * step for n in range(first, last + 1)]

    def _has(self, value: float) -> bool:
        return self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9)


def spanning(label: str, values: list[float], *, log: bool = False, whole: bool = False) -> Axis:
    """Return an axis that all values fit on, with a little room."""
    low, high = min(values), max(values)
    if log:
        return Axis(label, low / 1.15, high * 1.15, log=True)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return Axis(label, low - room, high + room, whole=whole)


def place(x: Axis, y: Axis, point: tuple[float, float]) -> tuple[float, float]:
    """Return where a point lies in the drawing."""
    across = LEFT + x.share(point[0]) * (WIDTH - LEFT - RIGHT)
    return across, HEIGHT - BOTTOM - y.share(point[1]) * (HEIGHT - TOP - BOTTOM)


def frame(x: Axis, y: Axis) -> Markup:
    """Return grid lines, ticks and labels of both axes."""
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for value in y.ticks():
        height = place(x, y, (x.low, value))[1]
        parts.append(element("line", x1=LEFT, x2=right, y1=short(height), y2=short(height), class_="grid"))
        parts.append(element("text", tick(value), x=LEFT - 5, y=short(height + 4), text_anchor="end"))
    for value in x.ticks():
        across = place(x, y, (value, y.low))[0]
        parts.append(element("line", x1=short(across), x2=short(across), y1=TOP, y2=bottom, class_="grid"))
        parts.append(element("text", tick(value), x=short(across), y=bottom + 16, text_anchor="middle"))
    parts.append(element("text", x.label, x=(LEFT + right) / 2, y=HEIGHT - 6, text_anchor="middle", class_="axis"))
    parts.append(element("text", y.label, x=2, y=14, class_="axis"))
    return element("g", parts, class_="frame")


def tick(value: float) -> str:
    """Return a tick's value, short enough for its place."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{round(value, 10):g}"


def short(number: float) -> str:
    """Return a coordinate with one decimal, or none: a drawing of thousands of points stays small."""
    return f"{number:.1f}".removesuffix(".0")
