"""Recommend from a folder that ``hlr_jax.export_model`` wrote, without hlr_jax installed.

pip install jax flatbuffers safetensors polars    # and usearch if the folder has an index
python answer.py USER [USER ...] [--exclude ITEM ...] [--candidates ITEM ...] [--exact]
python answer.py --history ITEM [ITEM ...]        # a new user with these items

Every such folder contains a copy of this file. Take from it what you need.
"""

import argparse
import hashlib
import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl
from jax import export
from safetensors.numpy import load_file

_AT_ONCE = 256  # users ranked together
MASKED = 3  # a user with more than this many times C seen or excluded items gets an exact list


class TopK:
    """Top-K lists from an exported folder, with the original ids. Each program compiles at its first call.

    An unknown user, an unknown item or a damaged file raises ``ValueError`` with a one-line message.
    """

    def __init__(self, folder: Path, check: bool = True):
        """Read the folder; arrays go to JAX's default device. ``check`` compares every file with its manifest hash."""
        self._folder = folder
        self.manifest = read_manifest(folder, check)
        self._users = pl.read_parquet(folder / "users.parquet", columns=["id"], glob=False)["id"]
        self._items = pl.read_parquet(folder / "items.parquet", columns=["id", "title"], glob=False)
        # Each part of a blend is such a folder too; a blend has no program of its own.
        self._weights: dict[str, float] = self.manifest.get("blend", {})
        self._parts = {label: TopK(folder / "parts" / label, check=False) for label in self._weights}
        self._arrays: dict[str, np.ndarray] = {}
        for name in self.manifest["arrays"]:
            self._arrays |= load_file(folder / name)
        self._on_device: dict[str, jax.Array] = {}
        self._programs: dict[str, Any] = {}

    def __call__(
        self, users: Iterable[object], *, candidates: Iterable[object] | None = None,
        exclude: Iterable[object] = (), exact: bool = False,
    ) -> pl.DataFrame:  # fmt: skip
        """Return the best unseen items as rows of ``user``, ``rank``, ``item``, ``title``, ``score``.

        Args:
          users: ids.
          candidates: ids of the items that may be recommended; None: all items.
          exclude: ids of items that must not be recommended.
          exact: score every item, even if the folder has an index.
        """
        rows = _rows(self._codes_of_users, users, "user in users.parquet")
        offsets, seen = self._arrays["seen_offsets"], self._arrays["seen_items"]
        known_items = [seen[offsets[row] : offsets[row + 1]] for row in rows]
        return self._lists(
            self._users.gather(rows), self._known(rows, known_items), known_items, candidates, exclude, exact
        )

    def newcomers(
        self, histories: Mapping[Any, Iterable[object]], *, candidates: Iterable[object] | None = None,
        exclude: Iterable[object] = (), exact: bool = False,
    ) -> pl.DataFrame:  # fmt: skip
        """Return the same for new users, given their items: ``{"ann": ["i1"]}``."""
        if not isinstance(histories, Mapping):
            raise ValueError(f"histories must be a dict of items by user, not {type(histories).__name__}")
        known_items = [
            np.unique(_rows(self._codes_of_items, items, "item in items.parquet")) for items in histories.values()
        ]
        most = len(self._items) - 1
        for user, items in zip(histories, known_items, strict=True):
            if not 1 <= len(items) <= min(self._longest, most):
                limit = min(self._longest, most)
                raise ValueError(f"user {user} has {len(items)} items; pass from 1 to {limit}")
        inputs = self._new(known_items) if known_items else {}
        return self._lists(pl.Series(list(histories), strict=False), inputs, known_items, candidates, exclude, exact)

    @property
    def _width(self) -> int:
        """K."""
        return int(self.manifest["k"])

    @property
    def _longest(self) -> int:
        """The largest number of items that a new user may have."""
        if self._parts:
            return min(part._longest for part in self._parts.values())
        programs = self.manifest["programs"]
        if "newcomers" in programs:
            return int(programs["newcomers"]["inputs"][0]["shape"][1])
        if "met" not in programs["topk"]["inputs"][0]:
            raise ValueError("this export accepts no new users: export_model was not given the training options")
        return int(programs["topk"]["inputs"][0]["met"]["shape"][1])

    def _known(self, rows: np.ndarray, known_items: Sequence[np.ndarray]) -> Any:
        """Return the inputs of known users: their rows of arrays, or their items; for a blend, by part."""
        if self._parts:
            return {label: part._known(rows, known_items) for label, part in self._parts.items()}
        names = self.manifest["programs"]["topk"]["inputs"][0]
        return {name: self._filled(known_items) if name == "met" else self._arrays[name][rows] for name in names}

    def _new(self, known_items: Sequence[np.ndarray]) -> Any:
        """Return the same for users who were not trained."""
        if self._parts:
            return {label: part._new(known_items) for label, part in self._parts.items()}
        padded = self._filled(known_items)
        return self._run("newcomers", padded) if "newcomers" in self.manifest["programs"] else {"met": padded}

    def _filled(self, known_items: Sequence[np.ndarray]) -> np.ndarray:
        """Return items [b, W], padded with -1."""
        padded = np.full((len(known_items), self._longest), -1, np.int32)
        for row, items in zip(padded, known_items, strict=True):
            row[: len(items)] = items
        return padded

    @cached_property
    def _codes_of_users(self) -> dict[str, int]:
        return {str(user): code for code, user in enumerate(self._users)}

    @cached_property
    def _codes_of_items(self) -> dict[str, int]:
        return {str(item): code for code, item in enumerate(self._items["id"])}

    def _lists(
        self, ids: pl.Series, inputs: Any, known_items: Sequence[np.ndarray],
        candidates: Iterable[object] | None, exclude: Iterable[object], exact: bool,
    ) -> pl.DataFrame:  # fmt: skip
        """Return the lists of users, a block of users at a time."""
        among = np.full(len(self._items), candidates is None)
        if candidates is not None:
            among[_rows(self._codes_of_items, candidates, "item in items.parquet")] = True
        among[_rows(self._codes_of_items, exclude, "item in items.parquet")] = False
        if not among.any():
            raise ValueError("no item is left to recommend: check the candidates and the excluded items")
        width = self._width
        parts = [(np.empty((0, width), np.int32), np.empty((0, width), np.float32))]
        for start in range(0, len(ids), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            allowed = np.tile(among, (len(known_items[some]), 1))
            for row, items in zip(allowed, known_items[some], strict=True):
                row[items] = False
            tile = jax.tree.map(lambda array, some=some: array[some], inputs)
            parts.append(self._blended(tile, allowed) if self._parts else self._ranked(tile, allowed, exact))
        items, scores = (np.concatenate(each) for each in zip(*parts, strict=True))
        shown = self._items[np.maximum(items, 0).ravel()]
        lists = pl.DataFrame(
            {
                "user": ids.gather(np.repeat(np.arange(len(ids)), width)),
                "rank": np.tile(np.arange(1, width + 1), len(ids)),
                "item": shown["id"],
                "title": shown["title"],
                "score": scores.ravel(),
            }
        )
        return lists.filter(pl.Series(items.ravel() >= 0))  # -1: no allowed item is left

    def _ranked(self, inputs: dict[str, np.ndarray], allowed: np.ndarray, exact: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the lists [b, K] of users and their scores, from the index if there is one, else exact."""
        near, candidates = np.zeros(len(allowed), bool), np.empty((len(allowed), 0), np.int32)
        if not exact and "among" in self.manifest["programs"]:
            moved = "query" in self.manifest["programs"]
            near, candidates = self._nearest(self._run("query", inputs) if moved else inputs["user"], allowed)
        shape = len(allowed), self._width
        items, scores = np.empty(shape, np.int32), np.empty(shape, np.float32)
        for name, chosen, given in (("among", near, candidates), ("topk", ~near, allowed)):
            if chosen.any():
                some = {name: array[chosen] for name, array in inputs.items()}
                items[chosen], scores[chosen] = self._run(name, some, given[chosen])
        return items, scores

    def _blended(self, inputs: Any, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lists [b, K] of users by the weighted sum of the parts' standardized scores, and these sums."""
        total = np.zeros(allowed.shape, np.float32)
        for label, part in self._parts.items():
            scores = part._run("scores", inputs[label])
            scores = scores - scores[:, :1]  # equal scores become exactly 0
            scores -= scores.mean(axis=1, keepdims=True)
            spread = np.sqrt(np.mean(scores * scores, axis=1, keepdims=True))
            total += np.float32(self._weights[label]) * (scores / np.where(spread > 0, spread, np.float32(1)))
        total[~allowed] = -np.inf
        items = np.argsort(-total, axis=1, kind="stable")[:, : self._width].astype(np.int32)
        best = np.take_along_axis(total, items, axis=1)
        return np.where(np.isneginf(best), np.int32(-1), items), best

    def _nearest(self, vectors: np.ndarray, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which users the index can rank [b], and for each C nearby allowed items [b, C], -1 for none."""
        facts, index = self._index
        wanted, fewest = facts["candidates"], np.minimum(self._width, np.count_nonzero(allowed, axis=1))
        masked = np.count_nonzero(~allowed, axis=1)
        near, candidates = masked <= MASKED * wanted, np.full((len(vectors), wanted), -1, np.int32)
        for row in np.flatnonzero(near):
            count = min(facts["items"], wanted + int(masked[row]))
            found = index.search(vectors[row].astype(np.float32), count).keys.astype(np.int64)
            found = found[allowed[row, found]][:wanted]
            candidates[row, : len(found)] = found
            near[row] = len(found) >= fewest[row]
        return near, candidates

    @cached_property
    def _index(self) -> tuple[dict[str, Any], Any]:
        """The contents of index.json, and the index."""
        try:
            from usearch.index import Index
        except ImportError:
            raise ValueError("the index needs usearch: pip install usearch, or ask for exact lists") from None
        facts = json.loads((self._folder / "index.json").read_text(encoding="utf-8"))
        index: Any = Index.restore(str(self._folder / facts["file"]))
        index.expansion_search = facts["ef"]
        return facts, index

    def _run(self, name: str, *inputs: Any) -> Any:
        """Return a program's result for b users; b is padded to a power of two, so that few sizes are compiled."""
        if name not in self._programs:
            program = export.deserialize(bytearray((self._folder / f"{name}.stablehlo").read_bytes()))
            reads = self.manifest["programs"][name]["reads"]
            for array in reads:
                self._on_device.setdefault(array, jax.device_put(self._arrays[array]))
            self._programs[name] = jax.jit(program.call), {array: self._on_device[array] for array in reads}
        program, reads = self._programs[name]
        count = len(jax.tree.leaves(inputs)[0])
        more = (1 << (count - 1).bit_length()) - count

        def filled(array: np.ndarray) -> np.ndarray:
            array = np.pad(array, [(0, more)] + [(0, 0)] * (array.ndim - 1), mode="edge")
            return array if array.dtype.kind in "bi" else array.astype(np.float32)

        return jax.tree.map(lambda array: np.asarray(array)[:count], program(reads, *jax.tree.map(filled, inputs)))


def read_manifest(folder: Path, check: bool) -> dict[str, Any]:
    """Return the manifest of a folder; ``check`` compares all files but this one with their hashes."""
    path, manifest = folder / "manifest.json", None
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        rest = json.dumps({name: value for name, value in read.items() if name != "check"}, sort_keys=True)
        if read["check"] == hashlib.sha256(rest.encode()).hexdigest()[:16]:
            manifest = read
    except (OSError, ValueError, KeyError, AttributeError, RecursionError):
        pass
    if manifest is None:
        raise ValueError(f"{path} is missing or damaged: export the model again")
    for name, about in manifest["files"].items() if check else ():
        if name.rpartition("/")[2] == Path(__file__).name:
            continue  # users may edit this file
        try:
            with (folder / name).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            digest = ""
        if digest != about["sha256"]:
            raise ValueError(f"{folder / name} is missing or damaged: export the model again")
    return manifest


def _rows(codes: dict[str, int], ids: Iterable[object], what: str) -> np.ndarray:
    """Return the rows of ids, which are compared as text; a single id is accepted too."""
    wanted = [str(value).strip() for value in ([ids] if isinstance(ids, str | Integral) else ids)]
    for value in wanted:
        if value not in codes:
            raise ValueError(f"{value}: no such {what}")
    return np.array([codes[value] for value in wanted], np.int64)


def main() -> None:
    """Print the top-K lists of the users on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("users", nargs="*", metavar="USER", help="ids of users.parquet")
    parser.add_argument("--history", nargs="+", metavar="ITEM", help="items of a new user, ids of items.parquet")
    parser.add_argument("--exclude", nargs="+", default=[], metavar="ITEM", help="items that are not recommended")
    parser.add_argument("--candidates", nargs="+", metavar="ITEM", help="the only items that may be recommended")
    parser.add_argument("--exact", action="store_true", help="score every item, even if there is an index")
    given = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # titles may have characters that the terminal lacks
    if not given.users and not given.history:
        parser.error("pass USER ... or --history ITEM ...")
    options = {"candidates": given.candidates, "exclude": given.exclude, "exact": given.exact}
    try:
        answer = TopK(Path(__file__).resolve().parent)
        lists = [answer(given.users, **options)] if given.users else []
        if given.history:
            lists.append(answer.newcomers({"new user": given.history}, **options))
    except ValueError as problem:
        sys.exit(f"error: {problem}")
    with pl.Config(tbl_rows=-1, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, fmt_str_lengths=60):
        for frame in lists:
            print(frame)


if __name__ == "__main__":
    main()
