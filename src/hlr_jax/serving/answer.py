"""Recommend from a folder that ``hlr_jax.export_model`` wrote, in a place where hlr_jax is not installed.

pip install jax flatbuffers safetensors polars
python answer.py USER [USER ...]

A copy of this file lies in every such folder. Take from it what you need.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import polars as pl
from jax import export
from safetensors.numpy import load_file


class TopK:
    """The function of an exported folder, with ids of the source in and out."""

    def __init__(self, folder: Path):
        """Read the folder; arrays go to JAX's default device."""
        program = export.deserialize(bytearray((folder / "topk.stablehlo").read_bytes()))
        files = ("parameters.safetensors", "interactions.safetensors")
        self._arrays = jax.device_put([load_file(folder / name) for name in files])
        self._program = jax.jit(program.call)  # compiled once for each number of users
        self._users = pl.read_parquet(folder / "users.parquet", columns=["id"], glob=False)["id"]
        self._items = pl.read_parquet(folder / "items.parquet", columns=["id", "title"], glob=False)

    def __call__(self, users: Sequence[object]) -> pl.DataFrame:
        """Return the best unseen items as rows of ``user``, ``rank``, ``item``, ``title``, ``score``.

        Raises:
          KeyError: an id that is no user's.
        """
        codes = {str(user): code for code, user in enumerate(self._users)}
        wanted = np.array([codes[str(user)] for user in users], np.int32)
        items, scores = map(np.asarray, self._program(*self._arrays, wanted))
        rows = self._items[np.maximum(items, 0).ravel()]
        lists = pl.DataFrame(
            {
                "user": self._users.gather(np.repeat(wanted, items.shape[1])),
                "rank": np.tile(np.arange(1, items.shape[1] + 1), len(wanted)),
                "item": rows["id"],
                "title": rows["title"],
                "score": scores.ravel(),
            }
        )
        return lists.filter(pl.Series(items.ravel() >= 0))  # -1: nothing unseen is left


def main() -> None:
    """Print the lists of the users on the command line."""
    if not sys.argv[1:]:
        sys.exit("usage: python answer.py USER [USER ...]")
    try:
        lists = TopK(Path(__file__).resolve().parent)(sys.argv[1:])
    except KeyError as problem:
        sys.exit(f"error: {problem.args[0]} is no user of users.parquet")
    with pl.Config(tbl_rows=-1, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, fmt_str_lengths=60):
        print(lists)


if __name__ == "__main__":
    main()
