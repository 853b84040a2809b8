"""Writes records as JSON lines, and prints them as tables."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality import summaries
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

# part -> title and its columns: heading, field, format. Fields without any record are left out.
_TIMES = [("steady s", "steady_s", ".4g"), ("compile s", "compile_s", ".3g"), ("peak MiB", "peak_mib", ",.0f")]
_BESIDE = [
    ("beside", "label", "s"), ("its s", "beside_s", ".4g"), ("its time / ours", "beside_time_ratio", ".2f"),
    ("its rate", "beside_rate", ",.4g"), ("ours / it", "rate_over_beside", ".2f"),
]  # fmt: skip
_RATE = [("GFLOP/s", "gflops_per_s", ".3g"), ("GEMM's", "gemm_gflops_per_s", ".3g"), ("share", "of_gemm", ".1%")]
_TABLES: dict[str, tuple[str, list[tuple[str, str, str]]]] = {
    "train": (
        "Training, an epoch: sampling included, and its sampling alone",
        [
            ("model", "model", "s"), ("batches of", "batch", "s"), ("positives", "interactions", ",d"),
            ("positives/s", "positives_per_s", ",.0f"),
            ("samples/s", "draws_per_s", ",.0f"), ("sampling's share", "draws_share", ".1%"),
            ("s/iteration", "iteration_s", ".3g"), *_RATE, *_TIMES,
            ("planned temporary MiB", "planned_temporary_mib", ",.0f"), *_BESIDE,
        ],
    ),
    "rank": (
        "Ranking: all unseen items of a user, top-K and masking included",
        [
            ("model", "model", "s"), ("users", "users", ",d"), ("items", "items", ",d"),
            ("users/s", "users_per_s", ",.1f"), ("ms/user", "ms_per_user", ",.3g"), *_RATE, *_TIMES, *_BESIDE,
        ],
    ),
    "seeds": (
        "Several seeds at once, compared with one",
        [
            ("model", "model", "s"), ("seeds", "num_seeds", "d"), ("one, s", "one_s", ".3g"),
            ("all, s", "steady_s", ".3g"), ("ratio", "ratio", ".2f"), ("least", "ratio_low", ".2f"),
            ("most", "ratio_high", ".2f"), *_TIMES[1:],
        ],
    ),
    "kernels": (
        "HLR's relation, direct (naive) compared with factored",
        [
            ("what", "direction", "s"), ("form", "form", "s"), ("triplets at once", "triplets_at_once", "d"),
            ("pairs/s", "pairs_per_s", ",.0f"), ("time / factored", "time_ratio_over_factored", ".2f"),
            ("planned temporary MiB", "planned_temporary_mib", ".1f"), ("steady s", "steady_s", ".3g"),
        ],
    ),
    "growth": (
        "Growth along one axis at a time",
        [
            ("model", "model", "s"), ("a step is of", "step_of", "s"), ("axis", "axis", "s"),
            ("value", "value", ",d"), ("at", "at", "s"), ("us/step", "us_per_step", ",.4g"), ("slope", "slope", ".2f"),
            ("us/positive", "us_per_positive", ",.4g"), ("us/ranked user", "us_per_user", ",.4g"),
            ("its slope", "rank_slope", ".2f"), ("compile s", "compile_s", ".3g"), ("predicted", "predicted", "d"),
        ],
    ),
    "devices": (
        "Meshes of data x model devices",
        [
            ("model", "model", "s"), ("mesh", "mesh", "s"), ("positives/s", "positives_per_s", ",.0f"),
            ("time / one device", "time_ratio_over_one", ".2f"), ("steady s", "steady_s", ".3g"),
            ("compile s", "compile_s", ".3g"),
        ],
    ),
    "prepare": (
        "A ratings.csv to splits",
        [("rows", "rows", ",d"), ("seconds", "seconds", ".2f"), ("rows/s", "rows_per_s", ",.0f"), _TIMES[2]],
    ),
    "planted": (
        "Synthetic data",
        [("rows", "rows", ",d"), ("seconds", "seconds", ".2f"), ("rows/s", "rows_per_s", ",.0f"), _TIMES[2]],
    ),
    "quality": (
        "Time to quality: seconds of a cold process until NDCG@10 on validation has this share of its best",
        [
            ("data", "data", "s"), ("cores", "cores", "d"), ("system", "system", "s"), ("95 %", "s_95", ".1f"),
            ("99 %", "s_99", ".1f"), ("100 %", "s_100", ".1f"), ("best, valid", "valid", ".4f"),
            ("test there", "test", ".4f"), ("last point", "last_s", ".1f"), ("the first passes it", "passed_s", ".1f"),
        ],
    ),
}  # fmt: skip
PARTS = tuple(_TABLES)
_WIDE = 160  # columns of a table that goes to a file


def write(path: Path, record: dict[str, Any]) -> None:
    """Append a record to a file of JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")


def print_tables(records: Sequence[dict[str, Any]]) -> None:
    """Print a table for each part that has records."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDE)
    for part, (title, columns) in _TABLES.items():
        if not (rows := _rows(part, [record for record in records if record["what"] == part])):
            continue
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        shown = [column for column in columns if any(row.get(column[1]) is not None for row in rows)]
        for heading, _, form in shown:
            table.add_column(heading, justify="left" if form == "s" else "right")
        for row in rows:
            table.add_row(*(_cell(row.get(field), form) for _, field, form in shown))
        console.print(table)
        for caveat in dict.fromkeys(row["caveat"] for row in rows if row.get("caveat")):
            console.print(f"[italic]{caveat}[/italic]\n")


def _rows(part: str, records: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Return the rows of a table: one for each record and command beside it, or for each system of ``quality``."""
    if part == "quality":
        return summaries(records)
    return [record | beside for record in records for beside in record.get("beside", [{}])]


def _cell(value: Any, form: str) -> str:
    return "" if value is None else format(value, form)
