"""Memory keys: a card for each, with its usage and the pairs of items that address it most."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from hlr_jax.analysis.attention import attend, check_keys
from hlr_jax.analysis.keys import SIGNIFICANT, deviation, key_table, significant_categories, traits
from hlr_jax.errors import InputError
from hlr_jax.models.base import Model
from hlr_jax.report.drawing import Child, Markup, element, side_by_side, soft
from hlr_jax.report.runs import TrainedRun


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
    """Return the cards of each run that has keys, and which runs have none; nothing where no run has keys."""
    without = [run.label for run, table in zip(runs, tables, strict=True) if table is None]
    if len(without) == len(runs):
        return []
    text = (
        "On a sample of training interactions, of the first seed. A key whose weight is nearly the same on all pairs "
        "treats all pairs alike, even if its top pairs look similar. Categories are named where permutations among "
        f"equally popular items do not explain them (adjusted p < {SIGNIFICANT})."
    )
    content: list[Child] = [soft(text)]
    for run, table in zip(runs, tables, strict=True):
        if table is not None:
            cards = [_card(row, len(table)) for row in table.iter_rows(named=True)]
            content += [element("h4", f"{run.label}: {len(cards)} keys"), side_by_side(cards)]
    if without:
        content.append(element("p", f"Without memory keys for pairs of items: {', '.join(without)}."))
    return content


def _card(row: dict[str, Any], count: int) -> Markup:
    """Return a card that opens when its title is chosen; on a wide screen it is open."""
    facts = [
        f"usage: {row['usage']:.1%} of all weight, {deviation(row['usage'], count)} the equal share of {1 / count:.1%}",
        f"weight on a pair: {row['mean_weight']:.1%} on average, {row['largest']:.1%} at most",
        f"median training users of the items of its top pairs: {row['popularity']:.0f}, of all pairs: "
        f"{row['popularity_of_all']:.0f}",
    ]
    if row["nearest_key"] is not None:
        facts.append(f"most similar: key {row['nearest_key']}, cosine {row['nearest_cosine']:.3f}")
    if "categories" in row:
        facts.append(f"top pairs with a common category: {row['shared']:.0%}, of all pairs: {row['shared_of_all']:.0%}")
        named = [f"{c['category']} ({c['lift']:.1f} times, {c['count']} items)" for c in significant_categories(row)]
        facts.append(f"over-represented categories: {', '.join(named) or 'none'}")
    pairs = [
        element("li", f"{p['title']} & {p['neighbor_title']} ", element("span", f"{p['weight']:.1%}", class_="soft"))
        for p in row["pairs"] or []
    ]
    return element(
        "details",
        element("summary", f"Key {row['key']}", element("span", traits(row), class_="more")),
        element("ul", [element("li", fact) for fact in facts], class_="list soft"),
        element("p", "Pairs with the largest weight on it:") if pairs else None,
        element("ul", pairs, class_="list"),
        class_="card",
    )
