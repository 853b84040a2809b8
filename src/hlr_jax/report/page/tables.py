"""Tables with a caption, which scroll sideways where the screen is narrower than they are."""

from collections.abc import Mapping, Sequence
from typing import Any

from hlr_jax.report.page.elements import Child, Markup, element

SPLIT_NAMES = {"test": "test", "valid": "validation"}


def table(caption: str, columns: Sequence[str], rows: Mapping[str, Sequence[Child]], kind: str = "") -> Markup:
    """Return a table: rows by their name, columns by theirs.

    Args:
      caption: says what it shows.
      columns: names; none: no head.
      rows: the cells of each row.
      kind: a class of the style sheet.
    """
    head = None
    if columns:
        cells = [element("th", name, scope="col") for name in columns]
        head = element("thead", element("tr", element("td"), cells))
    body = [
        element("tr", element("th", name, scope="row"), [element("td", cell) for cell in cells])
        for name, cells in rows.items()
    ]
    drawn = element("table", element("caption", caption), head, element("tbody", body), class_=kind or None)
    # With a tab stop, the part that lies outside can be reached by keyboard.
    return element("div", drawn, class_="wide", role="region", tabindex=0, aria_label=caption)


def plain_value(value: Any) -> str:
    """Return a setting as people read it."""
    if value is None or value == "":
        return "–"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def amount(value: float, name: str) -> str:
    """Return a metric's value: four decimals, or one for counts of users."""
    return f"{value:,.1f}" if "popularity" in name else f"{value:.4f}"


def folded(summary: str, *content: Child) -> Markup:
    """Return content that opens when its summary is chosen."""
    return element("details", element("summary", summary), *content)
