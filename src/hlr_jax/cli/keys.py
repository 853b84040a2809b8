"""Inspect the memory keys of a trained HLR or HLR++: cards to read, tables, plots.

hlr-jax keys --workdir=runs/hlr --output=keys [--categories=tags.csv] [--plots]

Writes cards.md, keys.parquet, pairs.parquet, similarity.parquet and attention.parquet. With categories it also writes
categories.parquet and matching.parquet. Categories are the genres of the data set, or --categories=FILE with columns
item and category. For a run with several seeds the command uses the first; for a blend, --part=NAME or the first part
with keys.
"""

from pathlib import Path

from absl import flags

import hlr_jax
from hlr_jax import errors, folders

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "folder to write; an existing folder of keys is replaced", required=True)
_CATEGORIES = flags.DEFINE_string("categories", None, "CSV, TSV or Parquet file with columns item and category")
_INTERACTIONS = flags.DEFINE_integer(
    "interactions", 2000, "number of interactions sampled from train, and from test for the relations"
)
_SEED = flags.DEFINE_integer("seed", 0, "seed of all samples")
_PART = flags.DEFINE_string("part", None, "for a blend: the part to analyze; the default is the first with keys")
_PLOTS = flags.DEFINE_bool("plots", False, "write PNG files too; needs matplotlib")


def main() -> None:
    """Run the command."""
    from hlr_jax.analysis import keys, plots
    from hlr_jax.analysis.attention import attend, check_keys
    from hlr_jax.analysis.categories import key_categories, read_categories
    from hlr_jax.analysis.relations import matching_probability
    from hlr_jax.systems import require_model

    errors.check_range("keys", interactions=(_INTERACTIONS.value, 1, 10**7))
    given = None if _CATEGORIES.value is None else read_categories(_CATEGORIES.value)
    own, _ = hlr_jax.Recommender.load(_WORKDIR.value, log=print).with_array("keys", _PART.value)
    model, params, dataset = require_model(own.model, "keys"), own.params, own.dataset
    check_keys(model, params)
    count, seed = _INTERACTIONS.value, _SEED.value
    sample = attend(model, params, dataset, interactions=count, seed=seed)
    table = keys.key_table(sample, params, dataset, categories=given, seed=seed)
    frames = {
        "keys": table,
        "pairs": keys.key_pairs(sample, dataset, top=100),
        "similarity": keys.vector_similarity(params),
        "attention": keys.attention_summary(sample),
    }
    figures = {"usage": lambda: plots.key_usage(table), "similarity": lambda: plots.similarity(frames["similarity"])}
    if "categories" in table.columns:
        frames["categories"] = key_categories(sample, dataset, given, seed=seed)
        tested = attend(model, params, dataset, split="test", interactions=count, seed=seed)
        frames["matching"] = matching_probability(tested, dataset, given, seed=seed)
        figures["categories"] = lambda: plots.category_lifts(frames["categories"])
    plotted = {name: plot() for name, plot in figures.items()} if _PLOTS.value else {}

    folder, cards = Path(_OUTPUT.value), "\n\n".join(keys.key_cards(table))
    with folders.replacing_folder(folder, "keys") as temporary:
        (temporary / "cards.md").write_text(f"{cards}\n", encoding="utf-8")
        for name, frame in frames.items():
            frame.write_parquet(temporary / f"{name}.parquet")
        for name, figure in plotted.items():
            figure.savefig(temporary / f"{name}.png", format="png", dpi=160)
    print(f"{cards}\n\neverything is in {folder}")
