"""Show items or users that are near each other in the learned space, or the keys that items address.

hlr-jax similar --workdir=runs/hlr --items=50,181 [--k=5]      # the items nearest to each
hlr-jax similar --workdir=runs/hlr --users=1                   # the users nearest to each
hlr-jax similar --workdir=runs/hlr --items=50 --keys           # the keys that an item's pairs address
hlr-jax similar --workdir=runs/hlr --items=50 --keys --other=181     # ... its pair with another item
hlr-jax similar --workdir=runs/hlr --items=50 --keys --user=1        # ... its pair with a user

For a blend the command uses --part=NAME or the first part with vectors.

It prints a table, or writes a file with --output=FILE.parquet, .csv or .jsonl. --items=all and --users=all select all,
--items=@FILE and --users=@FILE the ids in a file.
"""

from pathlib import Path

from absl import flags

from hlr_jax.cli.support.frames import check_suffix, print_frame, write_frame
from hlr_jax.cli.support.seeds import load_chosen
from hlr_jax.errors import InputError
from hlr_jax.serving.chosen_ids import read_choice_or_all

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run", required=True)
_ITEMS = flags.DEFINE_string("items", "", "ids of items: id,id,..., @FILE or all")
_USERS = flags.DEFINE_string("users", "", "ids of users: id,id,..., @FILE or all")
_KEYS = flags.DEFINE_bool("keys", False, "show the keys that each of --items addresses")
_OTHER = flags.DEFINE_string("other", None, "with --keys: id of another item, for pairs of items")
_USER = flags.DEFINE_string("user", None, "with --keys: id of a user, for pairs of user and item")
_K = flags.DEFINE_integer("k", 10, "number of results for each")
_PART = flags.DEFINE_string("part", None, "for a blend: the part to use; the default is the first with vectors")
_OUTPUT = flags.DEFINE_string("output", None, "file to write instead of printing a table")
_ESCAPE = flags.DEFINE_bool(
    "escape_formulas", False, "in CSV, put ' before texts that a spreadsheet would run as formulas"
)


def main() -> None:
    """Run the command."""
    if bool(_ITEMS.value) == bool(_USERS.value):
        raise InputError("pass either --items or --users")
    if _KEYS.value and not _ITEMS.value:
        raise InputError("--keys needs --items; for a pair with a user pass --items=ID --keys --user=ID")
    if not _KEYS.value and (_OTHER.value or _USER.value):
        raise InputError("--other and --user need --keys")
    if _OUTPUT.value:
        check_suffix(Path(_OUTPUT.value))
    recommender = load_chosen(_WORKDIR.value)
    dataset = recommender.dataset
    if _USERS.value:
        chosen = read_choice_or_all(_USERS.value, "user", dataset.user_index)
        users = dataset.user_ids if chosen is None else chosen
        frame = recommender.similar_users(users, k=_K.value, part=_PART.value)
    else:
        chosen = read_choice_or_all(_ITEMS.value, "item", dataset.item_index)
        items = dataset.item_ids if chosen is None else chosen
        if _KEYS.value:
            frame = recommender.nearest_keys(items, other=_OTHER.value, user=_USER.value, k=_K.value, part=_PART.value)
        else:
            frame = recommender.similar_items(items, k=_K.value, part=_PART.value)
    if _OUTPUT.value:
        write_frame(frame, Path(_OUTPUT.value), escape_formulas=_ESCAPE.value)
        print(f"{frame.height:,} rows are in {_OUTPUT.value}")
    else:
        print_frame(frame)
