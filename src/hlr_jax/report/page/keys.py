"""Memory keys: a card for each, in figures and in the items that address it."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from hlr_jax.analysis.cards import SIGNIFICANT
from hlr_jax.report.page.elements import Child, Markup, element
from hlr_jax.report.page.tables import folded

_OPEN = 6  # cards of a run that stand open: with more, a phone shows little else


def memory_keys(labels: Sequence[str], tables: Sequence[pl.DataFrame | None]) -> list[Child]:
    """Return the cards of each run that has keys, and which runs have none."""
    having = [(label, table) for label, table in zip(labels, tables, strict=True) if table is not None]
    without = [label for label, table in zip(labels, tables, strict=True) if table is None]
    content: list[Child] = []
    if having:
        text = (
            "On a sample of training interactions, of the first seed. A weight that is nearly the same on all pairs "
            "says that the key is used for all of them alike, whatever stands at the top of its list. Categories are "
            f"named where permutations among equally popular items do not explain them (adjusted p < {SIGNIFICANT})."
        )
        content.append(element("p", text, class_="soft"))
    for label, table in having:
        cards = [_card(row, len(table)) for row in table.iter_rows(named=True)]
        content.append(element("h4", f"{label}: {len(cards)} keys"))
        content.append(element("div", cards[:_OPEN], class_="grid-of"))
        if cards[_OPEN:]:
            rest = element("div", cards[_OPEN:], class_="grid-of")
            content.append(folded(f"{len(cards) - _OPEN} more keys", rest))
    if without:
        content.append(element("p", f"No memory keys that pairs of items address: {', '.join(without)}."))
    return content


def _card(row: dict[str, Any], count: int) -> Markup:
    facts = [
        f"{row['usage']:.1%} of all weight (even: {1 / count:.1%})",
        f"on one pair {row['mean_weight']:.1%} on average, {row['largest']:.1%} at most",
        f"users of an item of its pairs: {row['popularity']:.0f} in the median (all: {row['popularity_of_all']:.0f})",
    ]
    if row["nearest_key"] is not None:
        facts.append(f"most similar: key {row['nearest_key']}, cosine {row['nearest_cosine']:.3f}")
    if "categories" in row:
        facts.append(f"pairs that share a category: {row['shared']:.0%} (of all pairs: {row['shared_of_all']:.0%})")
        found = [entry for entry in row["categories"] or [] if entry["p_adjusted"] < SIGNIFICANT]
        named = ", ".join(f"{entry['category']} × {entry['lift']:.1f} ({entry['count']})" for entry in found)
        facts.append(f"over-represented: {named or 'no category'}")
    pairs = [
        element(
            "li",
            f"{pair['title']} & {pair['neighbor_title']} ",
            element("span", f"{pair['weight']:.1%}", class_="soft"),
        )
        for pair in row["pairs"] or []
    ]
    title = f"Key {row['key']}{' (dead)' if row['dead'] else ''}"
    return element(
        "div",
        element("h5", title),
        element("ul", [element("li", fact) for fact in facts], class_="list soft"),
        element("p", "Addressed most by") if pairs else None,
        element("ul", pairs, class_="list"),
        class_="card",
    )
