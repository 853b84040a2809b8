"""Recommend items with a trained run to its users, or to new users; the command needs only the workdir.

hlr-jax recommend --workdir=runs/hlr --users=7,42 --explain
hlr-jax recommend --workdir=runs/hlr --users=all --k=20 --output=recs.parquet

--users takes ids, @FILE with ids, or all. With --histories=FILE new users are folded in. Their items are in columns
user and item, or in those that --user_column and --item_column name. Use --items and --exclude_items (ids, or @FILE) to
restrict the recommended items. Commas separate ids, and an id with a comma is quoted: '"Smith, J",bob'. A file has one
id per line, or a column user or item. Without --output the recommendations are printed. Rerunning an interrupted
command that writes a file resumes it.
"""

from pathlib import Path

from absl import flags

from hlr_jax import files
from hlr_jax.cli.support.histories import histories_path, read_histories
from hlr_jax.cli.support.lists import Progress, show_lists
from hlr_jax.cli.support.seeds import load_chosen
from hlr_jax.data.ids import ON_UNKNOWN
from hlr_jax.errors import InputError
from hlr_jax.serving.chosen_ids import read_choice, read_choice_or_all
from hlr_jax.terminal import shown

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run", required=True)
_USERS = flags.DEFINE_string("users", None, "all, id,id,... or @FILE with ids")
_K = flags.DEFINE_integer("k", 10, "number of recommendations for each user")
_OUTPUT = flags.DEFINE_string("output", None, "file to write: .parquet, .csv or .jsonl")
_ESCAPE = flags.DEFINE_bool(
    "escape_formulas", False, "in CSV, put ' before texts that a spreadsheet would run as formulas"
)
_ITEMS = flags.DEFINE_string("items", None, "recommend only these items: id,id,... or @FILE with ids")
_EXCLUDE = flags.DEFINE_string("exclude_items", None, "do not recommend these items: id,id,... or @FILE with ids")
_SEEN = flags.DEFINE_bool("include_seen", False, "also recommend the items that a user has in training or validation")
_ON_UNKNOWN = flags.DEFINE_enum("on_unknown", "error", ON_UNKNOWN, "how to handle unknown ids")
_EXPLAIN = flags.DEFINE_bool(
    "explain", False, "show reasons: the items of the history that add most to the score, and their shares"
)
_REASONS = flags.DEFINE_integer("num_reasons", 3, "number of items in a reason", lower_bound=1)
_BUDGET = flags.DEFINE_integer("memory_limit_mib", 512, "memory for the tiles of users, in MiB")
_SHOWN = 20  # users that fit on a screen


def main() -> None:
    """Run the command."""
    from hlr_jax.provenance import parameters_hash
    from hlr_jax.ranking.population import wanted_users
    from hlr_jax.serving import stream
    from hlr_jax.serving.choice import item_choice
    from hlr_jax.serving.lists import Lister

    histories = histories_path()
    if (_USERS.value is None) == (histories is None):
        raise InputError("pass either --users=all|id,id|@FILE or --histories=FILE")
    output = None if _OUTPUT.value is None else Path(_OUTPUT.value)
    if output is not None:
        stream.check_output(output)
    # Hashed before loading: if the run is trained meanwhile, its recommendations do not belong to this request.
    folder = Path(_WORKDIR.value)
    parameters = parameters_hash(folder) if output is not None and folder.is_dir() else None
    recommender, on_unknown = load_chosen(_WORKDIR.value), _ON_UNKNOWN.value
    dataset, users = recommender.dataset, None
    if histories is None:
        population = recommender.users
        users = read_choice_or_all(str(_USERS.value), "user", dataset.user_index, on_unknown)
    else:
        given = read_histories(histories)
        population = recommender.fold_in(given, on_unknown=on_unknown)
        if on_unknown == "popular":
            users = given["user"].unique(maintain_order=True)
    items, excluded = (
        None if flag.value is None else read_choice(flag.value, "item", dataset.item_index, on_unknown)
        for flag in (_ITEMS, _EXCLUDE)
    )
    reasons = _REASONS.value if _EXPLAIN.value else 0
    lister = Lister(
        recommender.model, population, dataset, item_choice(population, dataset, items, excluded, on_unknown, _say),
        k=_K.value, include_seen=_SEEN.value, num_reasons=reasons, memory_limit_mib=_BUDGET.value,
        seed=recommender.seed,
    )  # fmt: skip
    ids, places = wanted_users(population, users, on_unknown, _say)
    if output is None:
        if len(places) > _SHOWN:
            raise InputError(f"{len(places):,} users are too many to print; pass --output=recs.parquet")
        show_lists(lister.lists(ids, places))
        return
    request = {
        "data": dataset.fingerprint, "model": files.sha256_of(recommender.model.options), "seed": recommender.seed,
        "parameters": parameters,
        "users": files.sha256_of([ids.to_list(), places.tolist()]), "k": _K.value,
        "histories": histories and files.sha256_of(given.rows()), "include_seen": _SEEN.value,
        "items": items is not None and files.sha256_of(items.to_list()),
        "exclude_items": excluded is not None and files.sha256_of(excluded.to_list()), "reasons": reasons,
    }  # fmt: skip
    with Progress() as progress:
        rows = stream.write_lists(
            output,
            lister,
            (ids, places),
            request,
            progress=progress.show,
            escape_formulas=_ESCAPE.value,
            log=_say,
        )
    print(f"{rows:,} recommendations for {len(places):,} users are in {output}")


def _say(line: str) -> None:
    print(shown(line))
