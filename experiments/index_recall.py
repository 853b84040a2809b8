"""Measure the recall of an export's index, and the time of a list with and without it.

python experiments/index_recall.py --workdirs=runs/cml,runs/hlr --candidates=100,200,500 --output=runs/index.jsonl

Each run is exported for each number of candidates. Its answer.py then recommends to some users, exactly and by the
index. Recall@K is the share of the exact best K that are among the K of the index, the mean over users. Times are of
single warm users, with and without the index in turn. The fastest tenth is reported, because it is more reliable than a
median on a shared machine. Needs the extras `export` and `ann`.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from absl import flags
from rich.console import Console
from rich.table import Table

from hlr_jax import InputError, export_model, load_run
from hlr_jax.cli.support.launch import launch
from hlr_jax.serving.answer import MASKED, TopK
from hlr_jax.serving.index import IndexOptions

_WORKDIRS = flags.DEFINE_list("workdirs", None, "folders of runs", required=True)
_CANDIDATES = flags.DEFINE_list("candidates", ["100", "200", "500", "1000"], "numbers of candidates")
_M = flags.DEFINE_integer("m", IndexOptions.m, "links of an item in the index")
_EF = flags.DEFINE_integer("ef", IndexOptions.ef, "items kept during a search")
_EF_CONSTRUCTION = flags.DEFINE_integer(
    "ef_construction", IndexOptions.ef_construction, "items kept while inserting one"
)
_NEAR_P_U = flags.DEFINE_bool("near_p_u", False, "query the index with p_u alone, without the mean relation")
_USERS = flags.DEFINE_integer("users", 1000, "number of users to compare")
_TIMED = flags.DEFINE_integer("timed", 100, "number of users to time, one at a time")
_OUTPUT = flags.DEFINE_string("output", None, "JSON lines file to append to")
_KS = (10, 20, 100)
_HEADINGS = (
    "run",
    "items",
    "C",
    "M",
    "ef constr.",
    "ef",
    "p_u",
    *(f"recall@{k}" for k in _KS),
    "exact, ms",
    "index, ms",
    "share exact",
)


def main() -> None:
    """Run the command."""
    try:
        candidates = [int(count) for count in _CANDIDATES.value]
    except ValueError:
        raise InputError(f"--candidates takes whole numbers, got {','.join(_CANDIDATES.value)}") from None
    table = Table(*_HEADINGS)
    for workdir in _WORKDIRS.value:
        run = load_run(workdir, log=lambda _: None)
        for count in candidates:
            if count >= run.parts.dataset.num_items:
                continue
            with tempfile.TemporaryDirectory() as folder:
                record = {"run": Path(workdir).name} | _measured(run, count, Path(folder))
            if _OUTPUT.value is not None:
                with Path(_OUTPUT.value).open("a") as file:
                    file.write(json.dumps(record) + "\n")
            table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in record.values()))
    Console(width=120).print(table)


def _measured(run: Any, count: int, folder: Path) -> dict[str, Any]:
    """Return recall and times with an index of ``count`` candidates."""
    parts = run.parts
    index = IndexOptions(candidates=count, m=_M.value, ef_construction=_EF_CONSTRUCTION.value, ef=_EF.value)
    export_model(
        parts.model, run.params[0], parts.dataset, folder, k=min(count, max(_KS)), seed=run.seeds[0], index=index
    )
    answer = TopK(folder)
    if _NEAR_P_U.value:
        answer.manifest["programs"].pop("query", None)
    users = parts.dataset.user_ids.sample(min(_USERS.value, parts.dataset.num_users), seed=0).to_list()
    exact, found = answer(users, exact=True), answer(users)
    exact_ms, index_ms = _ms(answer, users[: _TIMED.value])
    return {
        "items": parts.dataset.num_items,
        "candidates": count,
        "m": index.m,
        "ef_construction": index.ef_construction,
        "ef": index.ef,
        "near_p_u": _NEAR_P_U.value,
        **{f"recall_at_{k}": _recall(exact, found, k) if k <= count else None for k in _KS},
        "exact_ms": exact_ms,
        "index_ms": index_ms,
        "share_exact": float(np.mean(parts.dataset.known.degrees() > MASKED * count)),
    }


def _recall(exact: pl.DataFrame, found: pl.DataFrame, k: int) -> float:
    """Return the mean over users of the share of the exact best k that are among the best k of the index."""
    best, near = (frame.filter(pl.col("rank") <= k) for frame in (exact, found))
    hits = best.join(near.select("user", "item", hit=True), on=["user", "item"], how="left")
    shares = hits.group_by("user").agg(pl.col("hit").fill_null(False).mean())
    return float(shares["hit"].mean())  # type: ignore[arg-type]


def _ms(answer: TopK, users: list[Any]) -> tuple[float, float]:
    """Return the time of the fastest tenth of the users, exactly and by the index."""
    times: dict[bool, list[float]] = {True: [], False: []}
    for user in [users[0], *users]:
        for exact, taken in times.items():
            start = time.perf_counter()
            answer([user], exact=exact)
            taken.append(1e3 * (time.perf_counter() - start))
    exactly, near = (float(np.quantile(taken[1:], 0.1)) for taken in times.values())
    return exactly, near


if __name__ == "__main__":
    launch(main)
