"""HTML elements, tables and SVG charts. Text becomes markup only through ``element``, which escapes it."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple, TypeAlias

from hlr_jax.colors import ON_LIGHT

WIDTH, HEIGHT = 320, 250  # a chart is 280 pixels wide or more, which shows text of 13 as 11 or more
LEFT, RIGHT, TOP, BOTTOM = 48, 14, 28, 44
_TICKS = 5
_MARK = 4.5
_VOID = {"meta", "link", "br", "hr"}


class Markup(str):
    """Text that is markup already and must not be escaped again."""

    __slots__ = ()


Child: TypeAlias = "str | int | float | Iterable[Child] | None"
Points: TypeAlias = Sequence[tuple[float, float]]


def element(tag: str, /, *children: Child, **attributes: str | int | float | None) -> Markup:
    """Return an element of a name.

    Children: markup is kept, other text is escaped, lists are concatenated, and None is left out. Attributes: values
    are escaped, None is left out, a trailing underscore of a name is dropped, and others become hyphens.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{tag}{written}>" if tag in _VOID else f"<{tag}{written}>{_joined(children)}</{tag}>")


def _joined(children: Child) -> str:
    if children is None or isinstance(children, Markup):
        return children or ""
    if isinstance(children, str | int | float):
        return escape(str(children))
    return "".join(map(_joined, children))


def table(caption: str, columns: Sequence[str], rows: Mapping[str, Sequence[Child]], kind: str | None = None) -> Markup:
    """Return a table with row names and, if given, column names; it scrolls sideways on a narrow screen.

    ``kind`` is a class of the style sheet; ``numbers`` aligns cells to the right.
    """
    head = element("thead", element("tr", element("td"), [element("th", name, scope="col") for name in columns]))
    body = [
        element("tr", element("th", name, scope="row"), [element("td", cell) for cell in cells])
        for name, cells in rows.items()
    ]
    content = element("caption", caption), head if columns else None, element("tbody", body)
    drawn = element("table", *content, class_=kind)
    # The tab stop lets the keyboard scroll to the part outside the screen.
    return element("div", drawn, class_="wide", role="region", tabindex=0, aria_label=caption)


def folded(summary: str, *content: Child) -> Markup:
    """Return content that opens when its summary is chosen."""
    return element("details", element("summary", summary), *content)


def side_by_side(children: Child) -> Markup:
    """Return children side by side, as many as fit on the screen."""
    return element("div", children, class_="grid-of")


def soft(text: str) -> Markup:
    """Return a paragraph of explanation."""
    return element("p", text, class_="soft")


class Axis(NamedTuple):
    """A range of values, on a log scale if asked; ``low`` < ``high``, and 0 < ``low`` on a log scale.

    ``whole``: values and ticks are whole numbers.
    """

    label: str
    low: float
    high: float
    log: bool = False
    whole: bool = False

    def share(self, value: float) -> float:
        """Return the place of a value: 0 at ``low``, 1 at ``high``."""
        low, high, value = (math.log10(x) if self.log else x for x in (self.low, self.high, value))
        return (value - low) / (high - low)

    def ticks(self) -> list[float]:
        """Return round values within the range, about five; on a log scale 1, 2 and 5 or powers of ten."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = (1, 2, 5) if len(decades) <= 3 else (1,)
            values = [step * 10.0**decade for decade in decades for step in steps]
            inside = [value for value in values if self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9)]
            return inside[:: -(-len(inside) // 7)] if inside else [self.low, self.high]
        rough = (self.high - self.low) / _TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
        step = max(1, step) if self.whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [n * step for n in range(first, last + 1)]


def spanning(label: str, values: Sequence[float], *, log: bool = False, whole: bool = False) -> Axis:
    """Return an axis that contains all values, with a margin."""
    low, high = min(values), max(values)
    if log:
        return Axis(label, low / 1.15, high * 1.15, log=True)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return Axis(label, low - room, high + room, whole=whole)


def place(x: Axis, y: Axis, point: tuple[float, float]) -> tuple[float, float]:
    """Return the coordinates of a point in the drawing."""
    across = LEFT + x.share(point[0]) * (WIDTH - LEFT - RIGHT)
    return across, HEIGHT - BOTTOM - y.share(point[1]) * (HEIGHT - TOP - BOTTOM)


def _frame(x: Axis, y: Axis) -> Markup:
    """Return grid lines, ticks and labels of both axes."""
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for value in y.ticks():
        height = place(x, y, (x.low, value))[1]
        parts.append(element("line", x1=LEFT, x2=right, y1=_short(height), y2=_short(height), class_="grid"))
        parts.append(element("text", _tick(value), x=LEFT - 5, y=_short(height + 4), text_anchor="end"))
    for value in x.ticks():
        across = _short(place(x, y, (value, y.low))[0])
        parts.append(element("line", x1=across, x2=across, y1=TOP, y2=bottom, class_="grid"))
        parts.append(element("text", _tick(value), x=across, y=bottom + 17, text_anchor="middle"))
    parts.append(element("text", x.label, x=(LEFT + right) / 2, y=HEIGHT - 6, text_anchor="middle", class_="axis"))
    parts.append(element("text", y.label, x=2, y=14, class_="axis"))
    return element("g", parts, class_="frame")


def _tick(value: float) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{round(value, 10):g}"


def _short(number: float) -> str:
    """Return a coordinate with one decimal at most, which keeps a drawing of thousands of points small."""
    return f"{number:.1f}".removesuffix(".0")


def run_style(run: int | None) -> str:
    """Return the class of a run's drawings; runs after the seventh repeat colors with other dashes."""
    if run is None:
        return "reference"
    return f"run{run % len(ON_LIGHT)}" + (" again" if run >= len(ON_LIGHT) else "")


def chart(
    ids: Iterator[int], title: str, note: str | None, description: str, x: Axis, y: Axis, drawings: Child
) -> Markup:
    """Return a figure: caption and note, axes and drawings, and a description for screen readers.

    ``ids`` gives a number that no other chart of the page has, for the ids of SVG titles.
    """
    name = f"chart{next(ids)}"
    names = {"aria_labelledby": f"{name}-title", "aria_describedby": f"{name}-desc"}
    texts = element("title", title, id=f"{name}-title"), element("desc", description, id=f"{name}-desc")
    box = f"0 0 {WIDTH} {HEIGHT}"
    drawn = element("svg", *texts, _frame(x, y), drawings, viewBox=box, role="img", **names)
    return element("figure", element("figcaption", element("strong", title), note), drawn)


def line(x: Axis, y: Axis, run: int | None, points: Points, thin: bool = False) -> Child:
    """Return the curve of a run, or in gray that of None; nothing for fewer than two points."""
    if len(points) < 2:
        return None
    places = (place(x, y, point) for point in points)
    path = "M" + "L".join(f"{_short(across)} {_short(down)}" for across, down in places)
    return element("path", d=path, class_=f"line {run_style(run)}{' thin' if thin else ''}")


def mark(run: int, across: float, down: float) -> Markup:
    """Return the mark of a run: circle, square, triangle or diamond, so that color alone does not identify runs."""
    r = _MARK
    shapes = (
        f"M{_short(across - r)} {_short(down)}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0z",
        f"M{_short(across - r)} {_short(down - r)}h{2 * r}v{2 * r}h{-2 * r}z",
        f"M{_short(across)} {_short(down - r - 1)}l{r + 1} {2 * r}h{-2 * r - 2}z",
        f"M{_short(across)} {_short(down - r - 1)}l{r + 1} {r + 1}l{-r - 1} {r + 1}l{-r - 1} {-r - 1}z",
    )
    return element("path", d=shapes[run % len(shapes)], class_=f"mark {run_style(run)}")


def dots(x: Axis, y: Axis, run: int, points: Points) -> Markup:
    """Return points as one path; points at the same place of the screen are drawn once, which bounds the size."""
    places = sorted({tuple(2 * round(part / 2) for part in place(x, y, point)) for point in points})
    return element("path", d="".join(f"M{a} {b}h0" for a, b in places), class_=f"dots {run_style(run)}")


def legend_mark(run: int | None) -> Markup:
    """Return the line and mark of a run, or the gray line of None, as an image for a legend."""
    shapes = element("path", d="M1 7H35", class_=f"line {run_style(run)}"), None if run is None else mark(run, 18, 7)
    return element("svg", shapes, viewBox="0 0 36 14", class_="swatch", aria_hidden="true")


def gallery(lead: str, names: Mapping[int, str], charts: Child, reference: str | None = None) -> list[Child]:
    """Return charts side by side, below an explanation and a legend of runs by number and, if given, the reference."""
    entries: list[tuple[int | None, str]] = [*names.items(), *([(None, reference)] if reference else [])]
    rows = [element("li", legend_mark(run), " ", name) for run, name in entries]
    return [soft(lead), element("ul", rows, class_="legend"), side_by_side(charts)]
