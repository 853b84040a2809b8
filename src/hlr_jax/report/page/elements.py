"""Elements of HTML and SVG. Text becomes markup only through ``element``, which escapes it."""

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

_VOID = {"meta", "link", "br", "hr"}


class Markup(str):
    """Text that is markup already and must not be escaped again."""

    __slots__ = ()


Child: TypeAlias = "str | int | float | Iterable[Child] | None"


def element(tag: str, /, *children: Child, **attributes: str | int | float | None) -> Markup:
    """Return an element.

    Args:
      tag: its name.
      children: markup stays as it is, any other text is escaped, lists are laid out one after the other, and None is
        left out.
      attributes: None leaves one out; a trailing underscore is dropped (``class_``), and others become hyphens.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{joined(children)}</{tag}>")


def joined(children: Child) -> Markup:
    """Return children one after the other, as ``element`` does."""
    if children is None:
        return Markup("")
    if isinstance(children, Markup):
        return children
    if isinstance(children, str | int | float):
        return Markup(escape(str(children)))
    return Markup("".join(joined(child) for child in children))
