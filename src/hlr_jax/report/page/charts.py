"""Line charts and dots as SVG, which follow the page's colours and need no script."""

from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

from hlr_jax.report.page.axes import HEIGHT, WIDTH, Axis, frame, place, short
from hlr_jax.report.page.elements import Markup, element

NUM_STYLES = 7
"""Colours of runs in the style sheet; with each go a dash pattern and the shape of a mark."""

_MARK = 4.5


class Line(NamedTuple):
    """A curve: the place of its run (None: for reference, in grey), its points, and those that are marked."""

    run: int | None
    points: Sequence[tuple[float, float]]
    marked: Sequence[tuple[float, float]] = ()
    thin: bool = False


def style_of(run: int | None) -> str:
    """Return the class of a run's drawings: runs after the seventh repeat colours in other dashes."""
    if run is None:
        return "reference"
    return f"run{run % NUM_STYLES}" + (" again" if run >= NUM_STYLES else "")


class Identifiers:
    """Identifiers that no other part of a page has: SVG names its titles by them."""

    def __init__(self) -> None:
        """Start at the first."""
        self._numbers = count(1)

    def next(self) -> str:
        """Return another one."""
        return f"chart{next(self._numbers)}"


def chart(ids: Identifiers, title: str, description: str, x: Axis, y: Axis, drawings: Sequence[Markup]) -> Markup:
    """Return an SVG with axes, its title and, for those who do not see it, a description."""
    name = ids.next()
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-desc"),
        frame(x, y),
        list(drawings),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_labelledby=f"{name}-title",
        aria_describedby=f"{name}-desc",
    )


def lines(x: Axis, y: Axis, curves: Sequence[Line]) -> list[Markup]:
    """Return curves, and their marks on top of all of them."""
    drawn = [
        element(
            "path", d=_path(x, y, curve.points), class_=f"line {style_of(curve.run)}{' thin' if curve.thin else ''}"
        )
        for curve in curves
        if len(curve.points) > 1
    ]
    for curve in curves:
        marked = curve.marked if len(curve.points) > 1 else curve.points
        drawn += [mark(curve.run, *place(x, y, point)) for point in marked]
    return drawn


def _path(x: Axis, y: Axis, points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(" ".join(map(short, place(x, y, point))) for point in points)


def mark(run: int | None, across: float, down: float) -> Markup:
    """Return the mark of a run: circle, square, triangle or diamond; colour alone does not tell runs apart."""
    r = _MARK
    shapes = (
        f"M{short(across - r)} {short(down)}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0z",
        f"M{short(across - r)} {short(down - r)}h{2 * r}v{2 * r}h{-2 * r}z",
        f"M{short(across)} {short(down - r - 1)}l{r + 1} {2 * r}h{-2 * r - 2}z",
        f"M{short(across)} {short(down - r - 1)}l{r + 1} {r + 1}l{-r - 1} {r + 1}l{-r - 1} {-r - 1}z",
    )
    return element("path", d=shapes[(run or 0) % len(shapes)], class_=f"mark {style_of(run)}")


def dots(x: Axis, y: Axis, run: int, points: Sequence[tuple[float, float]]) -> Markup:
    """Return points as one path. Those that fall on one place of the screen are drawn once, so the size is bounded."""
    places = sorted({tuple(2 * round(part / 2) for part in place(x, y, point)) for point in points})
    return element("path", d="".join(f"M{a} {b}h0" for a, b in places), class_=f"dots {style_of(run)}")


def legend(names: Sequence[str], reference: str | None = None) -> Markup:
    """Return what the colours, dashes and marks stand for."""
    entries: list[tuple[int | None, str]] = list(enumerate(names))
    if reference:
        entries.append((None, reference))
    rows = []
    for run, name in entries:
        stroke = element("path", d="M1 7H35", class_=f"line {style_of(run)}")
        swatch = element(
            "svg", stroke, None if run is None else mark(run, 18, 7), viewBox="0 0 36 14", class_="swatch",
            aria_hidden="true",
        )  # fmt: skip
        rows.append(element("li", swatch, " ", name))
    return element("ul", rows, class_="legend")
