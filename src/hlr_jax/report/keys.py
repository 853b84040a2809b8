"""Memory keys: a card for each, in numbers and in the items that address it."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from hlr_jax.analysis.attention import attend, check_keys
from hlr_jax.analysis.keys import SIGNIFICANT, key_table, significant_categories
from hlr_jax.errors import InputError
from hlr_jax.models.base import Model
from hlr_jax.report.drawing import Child, Markup, element, folded, side_by_side, soft
from hlr_jax.report.runs import TrainedRun

_OPEN = 6  # cards of a run that stand open: with more, a phone shows little else


def keys_of(run: TrainedRun) -> pl.DataFrame | None:
    """Return ``analysis.keys.key_table`` of the run's first seed; None for a model without such keys."""
    model, params, dataset, seed = run.parts.model, run.loaded.params[0], run.parts.dataset, run.parts.seed
    if not isinstance(model, Model):
        return None
    try:
        check_keys(model, params)
    except InputError:
        return None
    return key_table(attend(model, params, dataset, seed=seed), params, dataset, seed=seed)


def key_cards(runs: Sequence[TrainedRun], tables: Sequence[pl.DataFrame | None]) -> list[Child]:
    """Return the cards of each run that has keys, and which runs have none."""
    text = (
        "On a sample of training interactions, of the first seed. A weight that is nearly the same on all pairs "
        "says that the key is used for all of them alike, whatever stands at the top of its list. Categories are "
        f"named where permutations among equally popular items do not explain them (adjusted p < {SIGNIFICANT})."
    )
    without = [run.label for run, table in zip(runs, tables, strict=True) if table is None]
    content: list[Child] = [soft(text)] if len(without) < len(runs) else []
    for run, table in zip(runs, tables, strict=True):
        if table is None:
            continue
        cards = [_card(row, len(table)) for row in table.iter_rows(named=True)]
        content += [element("h4", f"{run.label}: {len(cards)} keys"), side_by_side(cards[:_OPEN])]
        if cards[_OPEN:]:
            content.append(folded(f"{len(cards) - _OPEN} more keys", side_by_side(cards[_OPEN:])))
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
        named = [f"{c['category']} × {c['lift']:.1f} ({c['count']})" for c in significant_categories(row)]
        facts.append(f"over-represented: {', '.join(named) or 'no category'}")
    pairs = [
        element("li", f"{p['title']} & {p['neighbor_title']} ", element("span", f"{p['weight']:.1%}", class_="soft"))
        for p in row["pairs"] or []
    ]
    return element(
        "div",
        element("h5", f"Key {row['key']}{' (dead)' if row['dead'] else ''}"),
        element("ul", [element("li", fact) for fact in facts], class_="list soft"),
        element("p", "Addressed most by") if pairs else None,
        element("ul", pairs, class_="list"),
        class_="card",
    )
