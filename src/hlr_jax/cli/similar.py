"""Show what lies near in the space that a run has learned: items, users, and the keys that items address.

hlr-jax similar --workdir=runs/hlr --items=50,181 [--k=5]      # the items nearest to each
hlr-jax similar --workdir=runs/hlr --users=1                   # the users nearest to each
hlr-jax similar --workdir=runs/hlr --items=50 --keys           # the keys that an item's pairs address
hlr-jax similar --workdir=runs/hlr --items=50 --keys --other=181     # ... its pair with another item
hlr-jax similar --workdir=runs/hlr --items=50 --keys --user=1        # ... its pair with a user

It prints a table, or writes a file with --output=FILE.parquet, .csv or .jsonl; --items=all and --users=all take all.
"""

from pathlib import Path

import polars as pl
from absl import flags

import hlr_jax
from hlr_jax.cli.support.frames import check_suffix, print_frame, write_frame
from hlr_jax.errors import InputError

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run", required=True)
_ITEMS = flags.DEFINE_list("items", [], "ids of items, or all")
_USERS = flags.DEFINE_list("users", [], "ids of users, or all")
_KEYS = flags.DEFINE_bool("keys", False, "show the keys that each of --items addresses")
_OTHER = flags.DEFINE_string("other", None, "with --keys: the id of another item, for pairs of items")
_USER = flags.DEFINE_string("user", None, "with --keys: the id of a user, for pairs of user and item")
_K = flags.DEFINE_integer("k", 10, "how many are shown of each")
_OUTPUT = flags.DEFINE_string("output", None, "file to write instead of printing a table")


def main() -> None:
    """Run the command."""
    if bool(_ITEMS.value) == bool(_USERS.value):
        raise InputError("pass either --items or --users")
    if _KEYS.value and not _ITEMS.value:
        raise InputError("--keys are those of --items; the pair with a user is --items=ID --keys --user=ID")
    if not _KEYS.value and (_OTHER.value or _USER.value):
        raise InputError("--other and --user go with --keys")
    if _OUTPUT.value:
        check_suffix(Path(_OUTPUT.value))
    from hlr_jax.systems import require_model

    loaded = hlr_jax.load_run(_WORKDIR.value)
    model = require_model(loaded.parts.model, "similar")
    run = model, loaded.params[0], loaded.parts.dataset  # of several seeds the first
    items, users = _chosen(_ITEMS.value, run[2].item_ids), _chosen(_USERS.value, run[2].user_ids)
    if _KEYS.value:
        seed = loaded.parts.seed
        frame = hlr_jax.nearest_keys(*run, items, other=_OTHER.value, user=_USER.value, k=_K.value, seed=seed)
    elif items:
        frame = hlr_jax.similar_items(*run, items, k=_K.value)
    else:
        frame = hlr_jax.similar_users(*run, users, k=_K.value)
    if _OUTPUT.value:
        write_frame(frame, Path(_OUTPUT.value))
        print(f"{frame.height:,} rows are in {_OUTPUT.value}")
    else:
        print_frame(frame)


def _chosen(given: list[str], ids: pl.Series) -> list[object]:
    return ids.to_list() if given == ["all"] else list(given)
