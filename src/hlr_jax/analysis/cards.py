"""Memory keys in words: a card for each, for people who know the items and not the model."""

from typing import Any

import polars as pl

SIGNIFICANT = 0.05
_SAME = 0.95  # of the cosine of two keys that address the same


def key_cards(table: pl.DataFrame) -> list[str]:
    """Return a card in Markdown for each row of ``keys.key_table``.

    It says how much the key is used and how its weight varies over pairs, since a weight that hardly varies says that
    the key is used for all pairs alike, whatever stands at the top of its list; which key addresses the same; the pairs
    of items that address it most; and the categories that are more frequent among those than chance explains.
    """
    return [_card(row, len(table)) for row in table.iter_rows(named=True)]


def _card(row: dict[str, Any], number: int) -> str:
    lines = [f"### Key {row['key']}: {_kind(row)}", ""]
    uniform = f"{1 / number:.1%} would be an equal share"
    lines.append(
        f"Takes {row['usage']:.1%} of the weight ({uniform}); on one pair {row['mean_weight']:.1%} on average and "
        f"{row['largest']:.1%} at most."
    )
    if row["nearest_key"] is not None and row["nearest_cosine"] > _SAME:
        lines.append(f"Nearly the same as key {row['nearest_key']} (cosine {row['nearest_cosine']:.3f}).")
    lines += ["", "Addressed most by:", ""]
    lines += [f"- {pair['title']} & {pair['neighbor_title']} ({pair['weight']:.1%})" for pair in row["pairs"]]
    sentence = [
        f"The items of the pairs that address it most have {row['popularity']:.0f} users in the median, "
        f"those of all pairs {row['popularity_of_all']:.0f}."
    ]
    if "categories" in row:
        sentence.append(f"{row['shared']:.0%} of these pairs share a category, of all {row['shared_of_all']:.0%}.")
        significant = [entry for entry in row["categories"] or [] if entry["p_adjusted"] < SIGNIFICANT]
        listed = ", ".join(
            f"{entry['category']} x {entry['lift']:.1f} ({entry['count']} times)" for entry in significant
        )
        sentence.append(f"More frequent than chance explains: {listed or 'no category'}.")
    return "\n".join([*lines, "", " ".join(sentence)])


def _kind(row: dict[str, Any]) -> str:
    """Return a few words for what the figures say the key is for."""
    if row["dead"]:
        return "dead"
    words = []
    if "categories" in row:
        ratio = row["shared"] / max(row["shared_of_all"], 1e-9)
        words += ["items of a kind"] if ratio > 1.2 else ["items of different kinds"] if ratio < 0.8 else []
    ratio = row["popularity"] / max(row["popularity_of_all"], 1e-9)
    words += ["popular items"] if ratio > 1.2 else ["rare items"] if ratio < 0.8 else []
    flat = row["largest"] < 1.5 * row["mean_weight"]
    return ", ".join([*words, "weight nearly the same for all pairs"] if flat else words) or "no common trait found"
