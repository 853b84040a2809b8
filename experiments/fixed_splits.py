"""Make a fixed split behind the results from the public source of its data set, and verify it.

python experiments/fixed_splits.py --data=ml-100k --output=splits/ml-100k.parquet
python experiments/fixed_splits.py --data=yelp --source=train.txt,test.txt --output=splits/yelp.parquet

The rows that reach the data set's threshold are reduced to its k-core. Then two random samples, as by scikit-learn's
``train_test_split``, are 20 % of all rows for test and 10 % of the rest for valid. The file has the columns ``user``,
``item`` and ``split``, sorted by user and item. Without --source the files are downloaded into the cache. Nothing is
written unless the checksum of the rows is the recorded one. docs/results/splits.md lists the sources.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from absl import flags

from hlr_jax import InputError
from hlr_jax.cli.support.launch import launch
from hlr_jax.data.download import cache_folder, fetch, obtain, remember
from hlr_jax.data.encoding import SPLITS, k_core
from hlr_jax.data.options import DataOptions
from hlr_jax.data.reading.files import read_interactions
from hlr_jax.data.reading.formats import SUFFIXES
from hlr_jax.data.splits import split_counts
from hlr_jax.errors import pick
from hlr_jax.files import atomic_file, expanded
from hlr_jax.protocols import PROTOCOLS

SEED = 2021  # of both samples, from the authors' configs
_GITHUB = "https://raw.githubusercontent.com"
_KGAT = f"{_GITHUB}/xiangwang1223/knowledge_graph_attention_network"
_NFA = f"{_GITHUB}/project-NFA/NFA-Pytorch/d86bf67c9c95893c529799282973b099b06e5d54"
_LIGHTGCN = f"{_GITHUB}/jode-reflact/LightGCN-curriculum-learning/0472951543c99a2768457fe6e15f7f1a229119a7"


def _both(folder: str) -> tuple[str, str]:
    return f"{folder}/train.txt", f"{folder}/test.txt"


@dataclass(frozen=True)
class FixedSplit:
    """How one fixed split is made.

    Attributes:
      layout: format of the source files, if their extension does not give it; a name of ``reading.formats.FORMATS``.
      k_core: least interactions of users and items.
      ordered: whether rows are sorted by user and item before sampling, and ids are numbered in their order. If not,
        rows stay in the order of the files, and ids are numbered by first appearance.
      checksum: of the finished table, see ``checksum``.
      urls: addresses of the source files, in the order in which they are read; empty for a data set of the registry.
      threshold: least rating; None where the files have no ratings.
    """

    layout: str
    k_core: int
    ordered: bool
    checksum: str
    urls: tuple[str, ...] = ()
    threshold: float | None = None


FIXED_SPLITS = {
    "ml-100k": FixedSplit(
        "movielens-100k",
        10,
        False,
        "9cafc0dc178265f3cd764fc1a6ac361a1ca765e557a20606a5084312ab97383a",
        threshold=4,
    ),
    "lastfm-hetrec": FixedSplit(
        "hetrec",
        10,
        False,
        "b9d000da40ab76e5d1d54560d16dc808ea90bcdc1721375cd3418d6fb2a44d8b",
        threshold=6,
    ),
    "movielens-1m": FixedSplit(
        "adjacency",
        10,
        False,
        "2d2597c2594ce5f796325bf0fc9fc088a19c4367ed2d74e29ce1dd136d69d502",
        _both(f"{_LIGHTGCN}/data/ml-1m"),
    ),
    "lastfm": FixedSplit(
        "adjacency",
        10,
        True,
        "e9a4e0d75029e7aa61f3ee13a3b0fff4c9db0e50275c3ca61853cf742c5eb343",
        (f"{_KGAT}/a018ee4b71ed9ff4af0167474121eaed1bd8f57d/Data/last-fm/test.txt",),
    ),
    "yelp": FixedSplit(
        "adjacency",
        5,
        True,
        "f2969c9182d0f648f8f0b4920049851a8a0d288a1b81452eba55d5a47ec9be71",
        _both(f"{_NFA}/data/yelp"),
    ),
    "amazon-book": FixedSplit(
        "adjacency",
        10,
        True,
        "918fc01706cdf99555269ec63e56811caec2e45c138de6d7b06eb4af3f0d98eb",
        _both(f"{_KGAT}/7bbdb5d080093e9680c97eff76b78278a8500034/Data/amazon-book"),
    ),
    "citeulike-a": FixedSplit(
        "adjacency-counted",
        5,
        True,
        "2eabba5114d4c57adcc4e33d0e6a24cbe83cd882aa6cf4aa277d42513f1d83bc",
        (f"{_GITHUB}/js05212/citeulike-a/master/users.dat",),
    ),
}


def source_files(name: str, given: list[str]) -> list[tuple[Path, str]]:
    """Return the source files of a fixed split and the format of each, downloaded unless they are ``given``.

    Raises:
      InputError: a download fails; says where to put the file.
    """
    fixed = FIXED_SPLITS[name]
    if given:
        paths = [expanded(path) for path in given]
        return [(path, "auto" if path.suffix in SUFFIXES else fixed.layout) for path in paths]
    if not fixed.urls:
        source, path, _ = obtain(name)
        remember(source, path.parent)
        return [(path, source.layout)]
    folder, found = cache_folder() / "fixed_splits" / name, []
    for url in fixed.urls:
        path = folder / Path(url).name
        if not path.exists():
            try:
                fetch(url, path)
            except OSError as problem:
                raise InputError(f"{url}: {problem}; check the network, or put the file at {path}") from None
        found.append((path, fixed.layout))
    return found


def shuffled_parts(count: int, seed: int = SEED) -> np.ndarray:
    """Return the part of each row, int8 [count]: 0 train, 1 valid, 2 test.

    The same as ``train_test_split(rows, test_size=0.2, random_state=seed)`` of scikit-learn, followed by
    ``train_test_split(rest, test_size=0.1, random_state=seed)``. The
    first rows of a permutation are test. The first rows of a permutation of the others, in the order of the first
    one, are valid.

    Args:
      count: rows.
      seed: of ``numpy.random.RandomState``, whose numbers NumPy guarantees to keep.

    Example:
      >>> shuffled_parts(5).tolist()
      [0, 0, 2, 0, 1]
    """
    num_test, num_valid = split_counts(count, PROTOCOLS["reference"])
    parts = np.zeros(count, np.int8)
    order = np.random.RandomState(seed).permutation(count)
    rest = order[num_test:]
    parts[order[:num_test]] = 2
    parts[rest[np.random.RandomState(seed).permutation(len(rest))[:num_valid]]] = 1
    return parts


def make_split(rows: pl.DataFrame, fixed: FixedSplit, where: str) -> pl.DataFrame:
    """Return ``user``, ``item`` (int32, counted from 0) and ``split``, sorted by user and item.

    Args:
      rows: the ids ``user`` and ``item`` of interactions that reach the threshold, in the order of the files.
      fixed: what to do with them.
      where: what the source is called.

    Raises:
      InputError: nothing is left.
    """
    pairs = rows.select("user", "item").unique(maintain_order=True)
    pairs = pairs.sort("user", "item") if fixed.ordered else pairs
    codes = k_core(pairs.with_columns(pl.all().rank("dense").cast(pl.Int32) - 1), fixed.k_core, where)
    kept = codes.select(_numbered(codes[role], fixed.ordered) for role in ("user", "item"))
    names = pl.Series(SPLITS).gather(shuffled_parts(len(kept)))
    return kept.with_columns(split=names).sort("user", "item")


def _numbered(codes: pl.Series, ordered: bool) -> pl.Series:
    """Return codes counted from 0, in their order or by first appearance."""
    distinct = codes.unique(maintain_order=True)
    distinct = distinct.sort() if ordered else distinct
    return codes.replace_strict(distinct, np.arange(len(distinct), dtype=np.int32), return_dtype=pl.Int32)


def checksum(table: pl.DataFrame) -> str:
    """Return the SHA-256 of the lines ``user,item,split`` sorted by the two numbers, whatever the order of the rows."""
    lines = table.select("user", "item", pl.col("split").cast(pl.String)).sort("user", "item")
    return hashlib.sha256(lines.write_csv(include_header=False).encode()).hexdigest()


def fixed_split(name: str, given: list[str]) -> pl.DataFrame:
    """Return a fixed split, made from its source and verified.

    Raises:
      InputError: a source file is unreadable, or the result is not the fixed split.
    """
    fixed, files = FIXED_SPLITS[name], source_files(name, given)
    where = ", ".join(str(path) for path, _ in files)
    options = [DataOptions(format=layout, threshold=fixed.threshold) for _, layout in files]
    read = [read_interactions(path, chosen).rows for (path, _), chosen in zip(files, options, strict=True)]
    table = make_split(pl.concat(read), fixed, where)
    if (found := checksum(table)) != fixed.checksum:
        raise InputError(
            f"{where}: not the source of the fixed split {name}: the checksum is {found[:16]}... instead of "
            f"{fixed.checksum[:16]}...; delete downloaded files and run again, or check --source and its order"
        )
    return table


_DATA = flags.DEFINE_string("data", None, f"fixed split to make: {', '.join(FIXED_SPLITS)}", required=True)
_SOURCE = flags.DEFINE_list("source", [], "files to read instead of downloads, in the order of the download addresses")
_OUTPUT = flags.DEFINE_string("output", None, "Parquet file to write", required=True)


def main() -> None:
    """Run the command."""
    name = pick(_DATA.value, FIXED_SPLITS, "fixed split --data:")
    table = fixed_split(name, _SOURCE.value)
    output = expanded(_OUTPUT.value)
    output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(output) as temporary:
        table.write_parquet(temporary)
    counts = ", ".join(f"{(table['split'] == part).sum():,} {part}" for part in SPLITS)
    print(f"{output}: {table['user'].n_unique():,} users, {table['item'].n_unique():,} items, {counts}")
    print(f"checksum {FIXED_SPLITS[name].checksum}, as recorded")


if __name__ == "__main__":
    launch(main)
