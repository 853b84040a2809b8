"""An index of items by their vectors, for lists without a look at every item: HNSW (Malkov and Yashunin 2018)."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hlr_jax.json_files import write_json
from hlr_jax.settings import Settings, number, word

FILE, FACTS = "index.usearch", "index.json"
INDEXES = ("hnsw",)


@dataclass(frozen=True)
class IndexOptions(Settings):
    """How items are found near a user.

    Attributes:
      kind: what the index is.
      candidates: C, the unseen items per user that the index gives and the model ranks.
      m: links of an item in each layer of the graph but the lowest, which has twice as many.
      ef_construction: items that are held in view while a new one is linked.
      ef: items that are held in view in a search; at least as many as it returns.

    Raises:
      InputError: a value out of range, by name.

    Example:
      >>> index = hlr_jax.IndexOptions(candidates=500)
      >>> index.kind, index.candidates, index.m
      ('hnsw', 500, 16)
    """

    section: ClassVar[str] = "index"

    kind: str = word("hnsw", INDEXES)
    candidates: int = number(200, 1, 10**6)
    m: int = number(16, 2, 512)
    ef_construction: int = number(200, 1, 10**5)
    ef: int = number(200, 1, 10**5)


def write_index(folder: Path, items: np.ndarray, space: str, options: IndexOptions, query: str) -> None:
    """Write the index of item vectors [I, D] as ``index.usearch``, and ``index.json``, which says how to ask it.

    Args:
      folder: of the export.
      items: q_v.
      space: ``l2sq``, distances, or ``ip``, products.
      options: of the index.
      query: what it is asked with: ``user`` for p_u, or the file of the program that makes it.
    """
    from usearch.index import Index

    index = Index(
        ndim=items.shape[1], metric=space, dtype="f32", connectivity=options.m,
        expansion_add=options.ef_construction, expansion_search=options.ef,
    )  # fmt: skip
    # One thread: of several, each order in which items are linked is another graph.
    index.add(np.arange(len(items)), np.ascontiguousarray(items, np.float32), threads=1)
    index.save(str(folder / FILE))
    facts: dict[str, Any] = {
        "file": FILE,
        "kind": options.kind,
        "package": {"usearch": version("usearch")},
        "space": space,
        "query": query,
        "dim": items.shape[1],
        "items": len(items),
        "ids": "a key of the index is a row of items.parquet",
        "m": options.m,
        "ef_construction": options.ef_construction,
        "ef": options.ef,
        "candidates": min(options.candidates, len(items)),
    }
    write_json(folder / FACTS, facts)
