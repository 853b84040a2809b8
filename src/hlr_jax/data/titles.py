"""What people call the items: readers of the published title files, to a frame ``item``, ``title``, ``genres``."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from hlr_jax.errors import InputError

_GENRES_100K = [
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
]  # fmt: skip


def _frame(rows: list[tuple[int, str, str]]) -> pl.DataFrame:
    schema = {"item": pl.Int64, "title": pl.String, "genres": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _lines(path: Path) -> list[str]:
    """Return the lines of a file in UTF-8 or, as MovieLens 100K and 1M are, Latin-1."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    # Not `splitlines`: some names hold the rarer line separators.
    return [line.rstrip("\r") for line in text.split("\n") if line.strip()]


def _movielens_100k(path: Path) -> pl.DataFrame:
    rows = []
    for line in _lines(path):
        fields = line.split("|")
        genres = " ".join(name for name, flag in zip(_GENRES_100K, fields[5:], strict=False) if flag == "1")
        rows.append((int(fields[0]), fields[1], genres))
    return _frame(rows)


def _recbole_movielens(path: Path) -> pl.DataFrame:
    rows = []
    for line in _lines(path)[1:]:
        item, title, year, genres = line.split("\t")
        rows.append((int(item), f"{title} ({year})" if year else title, genres))
    return _frame(rows)


def _movielens_dat(path: Path) -> pl.DataFrame:
    rows = []
    for line in _lines(path):
        item, title, genres = line.split("::")
        rows.append((int(item), title, genres.replace("|", " ")))
    return _frame(rows)


def _movielens_csv(path: Path) -> pl.DataFrame:
    genres = pl.col("genres").replace("(no genres listed)", "").str.replace_all("|", " ", literal=True)
    frame = pl.read_csv(path, glob=False).select(pl.col("movieId").alias("item"), "title", genres)
    return frame.cast({"item": pl.Int64})


def _hetrec_artists(path: Path) -> pl.DataFrame:
    rows = [line.split("\t") for line in _lines(path)[1:]]
    return _frame([(int(row[0]), row[1], "") for row in rows])


TITLE_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    "movielens-100k": _movielens_100k,
    "recbole": _recbole_movielens,
    "movielens-dat": _movielens_dat,
    "movielens-csv": _movielens_csv,
    "hetrec": _hetrec_artists,
}


def read_titles(path: Path, layout: str) -> pl.DataFrame:
    """Return ``item``, ``title`` and ``genres`` (space-separated, empty where unknown) of a published title file.

    Raises:
      InputError: the file does not read as ``layout``.
    """
    try:
        return TITLE_READERS[layout](path)
    except (ValueError, IndexError, OSError, pl.exceptions.PolarsError) as problem:
        raise InputError(f"{path}: not a {layout} title file: {str(problem).splitlines()[0]}") from None
