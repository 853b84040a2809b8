"""Recommend from a folder that ``hlr_jax.export_model`` wrote, in a place where hlr_jax is not installed.

pip install jax flatbuffers safetensors polars    # and usearch, where the folder has an index
python answer.py USER [USER ...] [--exclude ITEM ...] [--candidates ITEM ...] [--exact]
python answer.py --history ITEM [ITEM ...]        # somebody new, who has met these items

A copy of this file lies in every such folder. Take from it what you need.
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

_AT_ONCE = 256  # people whose lists are made together
MASKED = 3  # somebody for whom more than so many times C items are met or excluded is given an exact list


class TopK:
    """The lists of an exported folder, with ids of the source in and out. Each program is compiled at its first call.

    Somebody unknown, an unknown item, and a damaged file raise ``ValueError`` in one line.
    """

    def __init__(self, folder: Path, check: bool = True):
        """Read the folder; arrays go to JAX's default device. ``check`` compares each file with the manifest's hash."""
        self._folder = folder
        self.manifest = read_manifest(folder, check)
        self._users = pl.read_parquet(folder / "users.parquet", columns=["id"], glob=False)["id"]
        self._items = pl.read_parquet(folder / "items.parquet", columns=["id", "title"], glob=False)
        # Of a blend, each part is such a folder too; then this one has no program of its own.
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
          candidates: ids of the items that may be recommended; None: all.
          exclude: ids of items that may not.
          exact: look at every item, even if the folder has an index.
        """
        rows = _rows(self._codes_of_users, users, "user of users.parquet")
        offsets, seen = self._arrays["seen_offsets"], self._arrays["seen_items"]
        met = [seen[offsets[row] : offsets[row + 1]] for row in rows]
        return self._lists(self._users.gather(rows), self._known(rows, met), met, candidates, exclude, exact)

    def newcomers(
        self, histories: Mapping[Any, Iterable[object]], *, candidates: Iterable[object] | None = None,
        exclude: Iterable[object] = (), exact: bool = False,
    ) -> pl.DataFrame:  # fmt: skip
        """Return the same for people whom nobody has trained, by the items that they have met: ``{"ann": ["i1"]}``."""
        if not isinstance(histories, Mapping):
            raise ValueError(f"histories are a dict of items by person, not {type(histories).__name__}")
        met = [np.unique(_rows(self._codes_of_items, items, "item of items.parquet")) for items in histories.values()]
        most = len(self._items) - 1
        for person, items in zip(histories, met, strict=True):
            if not 1 <= len(items) <= min(self._longest, most):
                limit = min(self._longest, most)
                raise ValueError(f"{person} has met {len(items)} items; it must be from 1 to {limit}")
        people = self._new(met) if met else {}
        return self._lists(pl.Series(list(histories), strict=False), people, met, candidates, exclude, exact)

    @property
    def _width(self) -> int:
        """K."""
        return int(self.manifest["k"])

    @property
    def _longest(self) -> int:
        """The most items that somebody new may have met."""
        if self._parts:
            return min(part._longest for part in self._parts.values())
        programs = self.manifest["programs"]
        if "newcomers" in programs:
            return int(programs["newcomers"]["inputs"][0]["shape"][1])
        if "met" not in programs["topk"]["inputs"][0]:
            raise ValueError("this export takes nobody new: export_model was not given the training options")
        return int(programs["topk"]["inputs"][0]["met"]["shape"][1])

    def _known(self, rows: np.ndarray, met: Sequence[np.ndarray]) -> Any:
        """Return what is read of known people: their rows of arrays, or what they have met; of a blend by part."""
        if self._parts:
            return {label: part._known(rows, met) for label, part in self._parts.items()}
        names = self.manifest["programs"]["topk"]["inputs"][0]
        return {name: self._filled(met) if name == "met" else self._arrays[name][rows] for name in names}

    def _new(self, met: Sequence[np.ndarray]) -> Any:
        """Return the same of people whom nobody has trained."""
        if self._parts:
            return {label: part._new(met) for label, part in self._parts.items()}
        padded = self._filled(met)
        return self._run("newcomers", padded) if "newcomers" in self.manifest["programs"] else {"met": padded}

    def _filled(self, met: Sequence[np.ndarray]) -> np.ndarray:
        """Return items [b, W] with -1 behind them."""
        padded = np.full((len(met), self._longest), -1, np.int32)
        for row, items in zip(padded, met, strict=True):
            row[: len(items)] = items
        return padded

    @cached_property
    def _codes_of_users(self) -> dict[str, int]:
        return {str(user): code for code, user in enumerate(self._users)}

    @cached_property
    def _codes_of_items(self) -> dict[str, int]:
        return {str(item): code for code, item in enumerate(self._items["id"])}

    def _lists(
        self, ids: pl.Series, people: Any, met: Sequence[np.ndarray],
        candidates: Iterable[object] | None, exclude: Iterable[object], exact: bool,
    ) -> pl.DataFrame:  # fmt: skip
        """Return the lists of people, some of them at a time."""
        among = np.full(len(self._items), candidates is None)
        if candidates is not None:
            among[_rows(self._codes_of_items, candidates, "item of items.parquet")] = True
        among[_rows(self._codes_of_items, exclude, "item of items.parquet")] = False
        if not among.any():
            raise ValueError("no item is left to recommend: check the candidates and the excluded items")
        width = self._width
        parts = [(np.empty((0, width), np.int32), np.empty((0, width), np.float32))]
        for start in range(0, len(ids), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            allowed = np.tile(among, (len(met[some]), 1))
            for row, items in zip(allowed, met[some], strict=True):
                row[items] = False
            tile = jax.tree.map(lambda array, some=some: array[some], people)
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
        return lists.filter(pl.Series(items.ravel() >= 0))  # -1: nothing that may be recommended is left

    def _ranked(self, people: dict[str, np.ndarray], allowed: np.ndarray, exact: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the lists [b, K] of people, and their scores: by the index if there is one, else exactly."""
        near, candidates = np.zeros(len(allowed), bool), np.empty((len(allowed), 0), np.int32)
        if not exact and "among" in self.manifest["programs"]:
            moved = "query" in self.manifest["programs"]
            near, candidates = self._nearest(self._run("query", people) if moved else people["user"], allowed)
        shape = len(allowed), self._width
        items, scores = np.empty(shape, np.int32), np.empty(shape, np.float32)
        for name, chosen, given in (("among", near, candidates), ("topk", ~near, allowed)):
            if chosen.any():
                some = {name: array[chosen] for name, array in people.items()}
                items[chosen], scores[chosen] = self._run(name, some, given[chosen])
        return items, scores

    def _blended(self, people: Any, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lists [b, K] of people by the weighted sum of all parts' standardized scores, and these."""
        total = np.zeros(allowed.shape, np.float32)
        for label, part in self._parts.items():
            scores = part._run("scores", people[label])
            scores = scores - scores[:, :1]  # equal scores are 0 from here on, exactly
            scores -= scores.mean(axis=1, keepdims=True)
            spread = np.sqrt(np.mean(scores * scores, axis=1, keepdims=True))
            total += np.float32(self._weights[label]) * (scores / np.where(spread > 0, spread, np.float32(1)))
        total[~allowed] = -np.inf
        items = np.argsort(-total, axis=1, kind="stable")[:, : self._width].astype(np.int32)
        best = np.take_along_axis(total, items, axis=1)
        return np.where(np.isneginf(best), np.int32(-1), items), best

    def _nearest(self, vectors: np.ndarray, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return who can be ranked by the index [b], and C allowed items [b, C] near to each, -1 for none."""
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
        """What index.json says, and the index."""
        try:
            from usearch.index import Index
        except ImportError:
            raise ValueError("the index needs usearch: pip install usearch, or ask for exact lists") from None
        facts = json.loads((self._folder / "index.json").read_text(encoding="utf-8"))
        index: Any = Index.restore(str(self._folder / facts["file"]))
        index.expansion_search = facts["ef"]
        return facts, index

    def _run(self, name: str, *inputs: Any) -> Any:
        """Return a program's result for b people; as many as the next power of two share what is compiled."""
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
    """Return the manifest of a folder; with ``check`` only if all files but this one are what was exported."""
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
            continue  # yours to change
        try:
            with (folder / name).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            digest = ""
        if digest != about["sha256"]:
            raise ValueError(f"{folder / name} is missing or damaged: export the model again")
    return manifest


def _rows(codes: dict[str, int], ids: Iterable[object], what: str) -> np.ndarray:
    """Return the rows of ids, which are compared as text; a single one may stand for itself."""
    wanted = [str(value).strip() for value in ([ids] if isinstance(ids, str | Integral) else ids)]
    for value in wanted:
        if value not in codes:
            raise ValueError(f"{value} is no {what}")
    return np.array([codes[value] for value in wanted], np.int64)


def main() -> None:
    """Print the lists of the users on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("users", nargs="*", metavar="USER", help="ids of users.parquet")
    parser.add_argument("--history", nargs="+", metavar="ITEM", help="what somebody new has met, ids of items.parquet")
    parser.add_argument("--exclude", nargs="+", default=[], metavar="ITEM", help="items that are not recommended")
    parser.add_argument("--candidates", nargs="+", metavar="ITEM", help="the only items that are recommended")
    parser.add_argument("--exact", action="store_true", help="look at every item, even if there is an index")
    given = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # titles in any script, on terminals of any encoding
    if not given.users and not given.history:
        parser.error("pass USER ... or --history ITEM ...")
    options = {"candidates": given.candidates, "exclude": given.exclude, "exact": given.exact}
    try:
        answer = TopK(Path(__file__).resolve().parent)
        lists = [answer(given.users, **options)] if given.users else []
        if given.history:
            lists.append(answer.newcomers({"somebody new": given.history}, **options))
    except ValueError as problem:
        sys.exit(f"error: {problem}")
    with pl.Config(tbl_rows=-1, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, fmt_str_lengths=60):
        for frame in lists:
            print(frame)


if __name__ == "__main__":
    main()
