"""Named formats of files of interactions."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from hlr_jax.data.options import ROLES, DataOptions
from hlr_jax.errors import InputError, pick


@dataclass(frozen=True)
class Format:
    """The layout of a file.

    Attributes:
      kind: ``delimited``, ``parquet``, ``ndjson`` or ``adjacency``.
      columns: role -> column name in the file; without a header, the roles of the columns in order.
      separator: one character, or ``::``; overridden if the first lines show another one.
      header: whether the first line names the columns; RecBole's ``name:type`` also matches ``name``.
      quoted: whether fields may be in double quotes.
      counted: adjacency lists only: each line starts with the number of its items, and users are line numbers.
      item_pattern: regular expression of item ids, for formats whose users and items are easily exchanged.
    """

    kind: Literal["delimited", "parquet", "ndjson", "adjacency"]
    columns: dict[str, str]
    separator: str = ","
    header: bool = True
    quoted: bool = False
    counted: bool = False
    item_pattern: str = ""


def _columns(*names: str) -> dict[str, str]:
    return dict(zip(ROLES, names, strict=False))


_RATED = _columns(*ROLES[:4])
_SAME = _columns(*ROLES)
_ASIN = r"(B[0-9A-Z]{9}|[0-9]{9}[0-9X])"
FORMATS: dict[str, Format] = {
    "csv": Format("delimited", _SAME, quoted=True),
    "tsv": Format("delimited", _SAME, "\t", quoted=True),
    "parquet": Format("parquet", _SAME),
    "ndjson": Format("ndjson", _SAME),
    "adjacency": Format("adjacency", _columns("user", "item")),
    "adjacency-counted": Format("adjacency", _columns("user", "item"), counted=True),
    "movielens-100k": Format("delimited", _RATED, "\t", header=False),
    "movielens-dat": Format("delimited", _RATED, "::", header=False),
    "movielens-csv": Format("delimited", _columns("userId", "movieId", "rating", "timestamp"), quoted=True),
    "taste-profile": Format("delimited", _columns("user", "item", "rating"), "\t", header=False),
    "yelp-json": Format("ndjson", _columns("user_id", "business_id", "stars", "date")),
    "amazon-csv": Format("delimited", _RATED, header=False, item_pattern=_ASIN),
    "amazon-2018-csv": Format(
        "delimited", {role: role for role in ("item", "user", "rating", "timestamp")}, header=False, item_pattern=_ASIN
    ),
    "hetrec": Format("delimited", _columns("userID", "artistID", "weight"), "\t"),
    "recbole": Format("delimited", _columns("user_id", "item_id", "rating", "timestamp"), "\t"),
}
SUFFIXES = {
    ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet", ".ndjson": "ndjson", ".jsonl": "ndjson", ".inter": "recbole",
}  # fmt: skip
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst", ".zip")
_SHEETS = (".xlsx", ".xls", ".xlsm", ".ods")
_OTHERS = {
    **dict.fromkeys(_SHEETS, "a spreadsheet; save it as CSV"),
    ".json": "one JSON value; write a line for each row (.jsonl)",
    ".pkl": "a pickle, which may run code when loaded; save it as Parquet or CSV",
    ".pickle": "a pickle, which may run code when loaded; save it as Parquet or CSV",
}


def resolve_format(path: Path, options: DataOptions) -> Format:
    """Return the format in the options (``auto``: by the file extension), with the column names in the options.

    The extension of a compressed file follows that of its format: ``log.csv.gz``.

    Raises:
      InputError: an unknown format or file extension, or column names for a format without a header.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    ending = (suffixes[:-1] or [""])[-1] if suffixes and suffixes[-1] in COMPRESSIONS else (suffixes or [""])[-1]
    name = options.format
    if name == "auto":
        if ending in _OTHERS:
            raise InputError(f"{path}: {_OTHERS[ending]}")
        if ending not in SUFFIXES:
            raise InputError(f"{path}: unknown file extension; pass dataset.format, one of: {', '.join(FORMATS)}")
        name = SUFFIXES[ending]
    layout = FORMATS[pick(name, FORMATS, "dataset.format")]
    chosen = {role: column for role, column in options.named_columns.items() if column}
    if chosen and (layout.kind == "adjacency" or (not layout.header and options.header != "yes")):
        cure = "use csv or tsv" if layout.kind == "adjacency" else "pass dataset.columns, or dataset.header=yes"
        raise InputError(f"{path}: format {name} has no header, so its columns have no names; {cure}")
    return replace(layout, columns=layout.columns | chosen)
