"""What people call the items: readers of the published title files, to a frame ``item``, ``title``, ``genres``."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from hlr_jax.errors import UserError

_GENRES_100K = [
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
]  # fmt: skip


def _frame(rows: list[tuple[int, str, str]]) -> pl.DataFrame:
    schema = {"item": pl.Int64, "title": pl.String, "genres": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _movielens_100k(path: Path) -> pl.DataFrame:
    rows = []
    for line in path.read_text(encoding="latin-1").splitlines():
        fields = line.split("|")
        genres = " ".join(name for name, flag in zip(_GENRES_100K, fields[5:], strict=False) if flag == "1")
        rows.append((int(fields[0]), fields[1], genres))
    return _frame(rows)


def _recbole_movielens(path: Path) -> pl.DataFrame:
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        item, title, year, genres = line.split("\t")
        rows.append((int(item), f"{title} ({year})" if year else title, genres))
    return _frame(rows)


def _movielens_dat(path: Path) -> pl.DataFrame:
    rows = []
    for line in path.read_text(encoding="latin-1").splitlines():
        item, title, genres = line.split("::")
        rows.append((int(item), title, genres.replace("|", " ")))
    return _frame(rows)


def _movielens_csv(path: Path) -> pl.DataFrame:
    frame = pl.read_csv(path).select(
        pl.col("movieId").alias("item"), "title", pl.col("genres").str.replace_all("|", " ", literal=True)
    )
    return frame.cast({"item": pl.Int64})


def _hetrec_artists(path: Path) -> pl.DataFrame:
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8", errors="replace").splitlines()[1:]]
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
      UserError: the file does not read as ``layout``.
    """
    try:
        return TITLE_READERS[layout](path)
    except (ValueError, IndexError, OSError, pl.exceptions.PolarsError) as problem:
        raise UserError(f"{path}: not a {layout} title file: {str(problem).splitlines()[0]}") from None
