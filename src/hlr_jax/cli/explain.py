"""Explain recommended items: what each item of the history adds to the score, relative to the mean item.

hlr-jax explain --workdir=runs/hlr --user=7 --items=50,181      # these items
hlr-jax explain --workdir=runs/hlr --user=7 --k=3               # the first three recommendations of the user

The command prints the --num_reasons items of the history with the largest contributions. With --output=FILE.parquet,
.csv or .jsonl it writes all items, including those that lower the score. For a blend it also shows the share of each
part in an item's score. The alpha of an attention is the weight that the model gives to an item of the history; it is
not a contribution to the score.
"""

from pathlib import Path

import polars as pl
from absl import flags

from hlr_jax.cli.support.frames import check_suffix, print_frame, write_frame
from hlr_jax.cli.support.seeds import load_chosen
from hlr_jax.serving.chosen_ids import read_choice

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run", required=True)
_USER = flags.DEFINE_string("user", None, "id of a user", required=True)
_ITEMS = flags.DEFINE_string("items", None, "id,id,... or @FILE with ids; the default is the user's recommendations")
_K = flags.DEFINE_integer("k", 5, "without --items: number of recommendations to explain", lower_bound=1)
_REASONS = flags.DEFINE_integer("num_reasons", 3, "items of the history to print for each", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", None, "file to write instead of printing a table")
_ESCAPE = flags.DEFINE_bool(
    "escape_formulas", False, "in CSV, put ' before texts that a spreadsheet would run as formulas"
)
_PRINTED = (
    "item", "title", "neighbor_title", "neighbor_contribution", "neighbor_weight", "stands_out", "alpha", "parts",
)  # fmt: skip


def main() -> None:
    """Run the command."""
    if _OUTPUT.value:
        check_suffix(Path(_OUTPUT.value))
    recommender = load_chosen(_WORKDIR.value)
    if _ITEMS.value is None:
        items = recommender.recommend(_USER.value, k=_K.value)["item"]
    else:
        items = read_choice(_ITEMS.value, "item", recommender.dataset.item_index)
    reasons = recommender.explain(_USER.value, items)
    if _OUTPUT.value:
        write_frame(reasons, Path(_OUTPUT.value), escape_formulas=_ESCAPE.value)
        print(f"{reasons.height:,} rows are in {_OUTPUT.value}")
        return
    largest = reasons.filter(pl.int_range(pl.len()).over("item") < _REASONS.value)
    if "parts" in reasons.columns:
        largest = largest.with_columns(parts=_shares())
    print_frame(largest.select(name for name in _PRINTED if name in largest.columns))


def _shares() -> pl.Expr:
    """Return the parts of a blend with their shares, as text."""
    named = pl.struct("parts", "part_shares")
    return named.map_elements(
        lambda row: ", ".join(f"{p} {s:.0%}" for p, s in zip(row["parts"], row["part_shares"], strict=True)),
        return_dtype=pl.String,
    )
