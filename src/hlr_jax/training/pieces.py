"""Arrays in safetensors files, in pieces as on their devices, read back onto any others; each piece has a hash."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hlr_jax.array_files import read_array, read_metadata, write_arrays
from hlr_jax.errors import Damaged, InputError

LEAF = {"path": [str], "shape": [int], "dtype": str}  # the schema of a leaf's JSON

_THREADS = 4  # arrays hashed at once: hashlib releases the GIL

Index = tuple[slice, ...] | None


class Leaf(NamedTuple):
    """An array of a tree, with its keys in the tree."""

    path: tuple[str, ...]
    array: Any

    def to_json(self) -> dict[str, Any]:
        """Return what a reader needs: path, shape and type."""
        return {"path": self.path, "shape": self.array.shape, "dtype": str(self.array.dtype)}


def leaves_of(tree: Any) -> list[Leaf]:
    """Return the arrays of a tree of dictionaries, tuples and dataclasses."""
    found, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [Leaf(tuple(jax.tree_util.keystr((key,), simple=True) for key in path), array) for path, array in found]


def nested(leaves: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the shapes of leaves, from their JSON, as dictionaries in dictionaries."""
    tree: dict[str, Any] = {}
    for leaf in leaves:
        *outer, last = leaf["path"]
        place = tree
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = jax.ShapeDtypeStruct(tuple(leaf["shape"]), jnp.dtype(leaf["dtype"]))
    return tree


def write_pieces(folder: Path, leaves: Sequence[Leaf]) -> dict[str, dict[str, str]]:
    """Write the pieces of arrays on this process's devices, each once over all processes.

    Returns:
      The hash of each piece by its name, by the name of the file.
    """
    pieces = {_name(leaf.path, start): piece for leaf in leaves for start, piece in _own(leaf.array)}
    with ThreadPoolExecutor(_THREADS) as pool:
        hashes = dict(zip(pieces, pool.map(_hash, pieces.values()), strict=True))
    if not pieces:  # other processes hold the same pieces
        return {}
    file = f"arrays-{jax.process_index()}.safetensors"
    write_arrays(folder / file, {name: _plain(piece) for name, piece in pieces.items()}, hashes)
    return {file: hashes}


class Pieces:
    """The pieces of arrays in a folder, to read onto other devices."""

    def __init__(self, folder: Path, leaves: Sequence[Mapping[str, Any]], hashes: Mapping[str, Mapping[str, str]]):
        """Take the description of the arrays: the JSON of each leaf, and the hashes that ``write_pieces`` returned."""
        self._folder, self._hashes = folder, hashes
        self._leaves = {tuple(leaf["path"]): leaf for leaf in leaves}
        self._files = {name: file for file, of in hashes.items() for name in of}

    @staticmethod
    def hashes_in(folder: Path) -> dict[str, dict[str, str]]:
        """Return what ``write_pieces`` returned in each process."""
        return {path.name: read_metadata(path) for path in sorted(folder.glob("arrays-*.safetensors"))}

    def arrays(self, like: Any) -> Any:
        """Return arrays with the shapes and shardings of ``like``.

        Raises:
          InputError: a piece is missing or damaged, or the arrays are of another model.
        """
        leaves, structure = leaves_of(like), jax.tree.structure(like)
        lacking = {leaf.path for leaf in leaves} ^ set(self._leaves)
        if lacking:
            raise InputError(f"{self._folder} has arrays of another model: {'/'.join(min(lacking))} is not in both")
        with ThreadPoolExecutor(_THREADS) as pool:
            return jax.tree.unflatten(structure, list(pool.map(self._array, leaves)))

    def _array(self, leaf: Leaf) -> jax.Array:
        there, shape, dtype = self._leaves[leaf.path], leaf.array.shape, jnp.dtype(leaf.array.dtype)
        differing = sum(n != m for n, m in zip(shape, there["shape"], strict=False))
        if len(shape) != len(there["shape"]) or differing > 1 or str(dtype) != there["dtype"]:
            raise InputError(
                f"{self._folder} has arrays of another model or data set: {'/'.join(leaf.path)} is {there['shape']} "
                f"of {there['dtype']} there and {list(shape)} of {dtype} here"
            )
        read: dict[str, np.ndarray] = {}  # each piece, read when a device first needs it
        made: dict[str, np.ndarray] = {}  # several devices may need the same part

        def part(index: Index) -> np.ndarray:
            where = _bounds(index, shape)
            if str(where) not in made:
                made[str(where)] = self._part(leaf.path, where, dtype, read)
            return made[str(where)]

        sharding = getattr(leaf.array, "sharding", None)
        if sharding is None:
            return jnp.asarray(part(None))
        return jax.make_array_from_callback(shape, sharding, part)

    def _part(
        self, path: tuple[str, ...], where: list[tuple[int, int]], dtype: np.dtype, read: dict[str, np.ndarray]
    ) -> np.ndarray:
        """Return the part of an array from start to end in each axis; rows after its last one are 0."""
        part = np.zeros([end - start for start, end in where], dtype)
        for name, begin, sizes in self._pieces_of(path):
            ends = [start + size for start, size in zip(begin, sizes, strict=True)]
            common = [
                (max(start, first), min(end, last))
                for (start, end), first, last in zip(where, begin, ends, strict=True)
            ]
            if any(start >= end for start, end in common):
                continue
            if name not in read:
                read[name] = self._read(name, sizes, dtype)
            source = tuple(slice(a - first, b - first) for (a, b), first in zip(common, begin, strict=True))
            target = tuple(slice(a - start, b - start) for (a, b), (start, _) in zip(common, where, strict=True))
            part[target] = read[name][source]
        return part

    def _pieces_of(self, path: tuple[str, ...]) -> Iterator[tuple[str, list[int], list[int]]]:
        """Yield name, start and shape of the pieces of an array."""
        shape, stem = self._leaves[path]["shape"], _name(path, None)
        starts = {name: _start(name) for name in self._files if name.rpartition("@")[0] == stem}
        borders = [[*sorted({start[axis] for start in starts.values()}), size] for axis, size in enumerate(shape)]
        for name, start in starts.items():
            yield name, start, [edges[edges.index(at) + 1] - at for edges, at in zip(borders, start, strict=True)]

    def _read(self, name: str, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
        """Return a piece after checking its hash.

        Raises:
          InputError: it is damaged.
        """
        path = self._folder / self._files[name]
        piece = read_array(path, name)
        if piece.dtype != dtype and piece.dtype.itemsize == dtype.itemsize:
            piece = piece.view(dtype)
        if list(piece.shape) != list(shape) or _hash(piece) != self._hashes[path.name][name]:
            raise Damaged(f'{path}: damaged, the checksum of "{name.rpartition("@")[0]}" differs')
        return piece


def _own(array: Any) -> Iterator[tuple[list[int], np.ndarray]]:
    """Yield the pieces of an array that this process writes: the start and the values of each."""
    if not isinstance(array, jax.Array) or array.is_fully_addressable:
        whole = isinstance(array, np.ndarray) or array.is_fully_replicated
        if whole:
            if jax.process_index() == 0:
                yield [0] * array.ndim, np.asarray(array)
            return
    for shard in array.addressable_shards:
        if shard.replica_id == 0:
            yield [start for start, _ in _bounds(shard.index, array.shape)], np.asarray(shard.data)


def _bounds(index: Index, shape: Sequence[int]) -> list[tuple[int, int]]:
    """Return start and end in each axis."""
    if index is None:
        return [(0, size) for size in shape]
    return [part.indices(size)[:2] for part, size in zip(index, shape, strict=True)]


def _name(path: Sequence[str], start: Sequence[int] | None) -> str:
    """Return the name of a piece; without a start, that of its array."""
    stem = "/".join(path)
    return stem if start is None else f"{stem}@{','.join(map(str, start))}"


def _start(name: str) -> list[int]:
    return [int(number) for number in name.rpartition("@")[2].split(",") if number]


def _plain(piece: np.ndarray) -> np.ndarray:
    """Return a piece as numbers that every version of safetensors reads: bfloat16 as integers of its bits."""
    piece = np.ascontiguousarray(piece) if piece.ndim else piece
    return piece if piece.dtype.kind in "biuf" else piece.view(f"u{piece.dtype.itemsize}")


def _hash(piece: np.ndarray) -> str:
    """Return the SHA-256 of a piece: of its type, its shape and its bytes."""
    digest = hashlib.sha256(f"{piece.dtype} {list(piece.shape)}".encode())
    if math.prod(piece.shape):
        digest.update(_plain(piece).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
