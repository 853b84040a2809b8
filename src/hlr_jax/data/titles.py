"""Reads published files of item titles into a frame with ``item``, ``title`` and ``genres``."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from hlr_jax.errors import InputError

_GENRES_100K = [
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
]  # fmt: skip


def _movielens_100k(fields: list[str]) -> tuple[str, str]:
    return fields[1], " ".join(name for name, flag in zip(_GENRES_100K, fields[5:], strict=False) if flag == "1")


def _recbole(fields: list[str]) -> tuple[str, str]:
    _, title, year, genres = fields
    return f"{title} ({year})" if year else title, genres


def _movielens_dat(fields: list[str]) -> tuple[str, str]:
    _, title, genres = fields
    return title, genres.replace("|", " ")


TITLE_READERS: dict[str, tuple[str, bool, Callable[[list[str]], tuple[str, str]]]] = {
    "movielens-100k": ("|", False, _movielens_100k),
    "recbole": ("\t", True, _recbole),
    "movielens-dat": ("::", False, _movielens_dat),
    "hetrec": ("\t", True, lambda fields: (fields[1], "")),
}
"""Layout -> separator, whether there is a header, and a function from a line's fields (the id first) to title, genres.

``movielens-csv`` is read by Polars.
"""


def read_titles(path: Path, layout: str) -> pl.DataFrame:
    """Return ``item``, ``title`` and ``genres`` (space-separated, empty where unknown) of a published title file.

    Raises:
      InputError: the file can't be read as ``layout``.
    """
    try:
        if layout == "movielens-csv":
            genres = pl.col("genres").replace("(no genres listed)", "").str.replace_all("|", " ", literal=True)
            frame = pl.read_csv(path, glob=False).select(pl.col("movieId").alias("item"), "title", genres)
            return frame.cast({"item": pl.Int64})
        separator, header, texts_of = TITLE_READERS[layout]
        lines = [line.split(separator) for line in _lines(path)[header:]]
        rows = [(int(fields[0]), *texts_of(fields)) for fields in lines]
        return pl.DataFrame(rows, schema={"item": pl.Int64, "title": pl.String, "genres": pl.String}, orient="row")
    except (ValueError, IndexError, OSError, pl.exceptions.PolarsError) as problem:
        raise InputError(f"{path}: not a {layout} title file: {str(problem).splitlines()[0]}") from None


def titles_of(item_ids: pl.Series, known: pl.DataFrame) -> pl.DataFrame:
    """Return ``title`` and ``genres`` of each item [I], null for items that the column ``item`` of ``known`` lacks."""
    items, first = pl.DataFrame({"item": item_ids}), known.unique("item", keep="first")
    return items.join(first, on="item", how="left", maintain_order="left").select("title", "genres")


def _lines(path: Path) -> list[str]:
    """Return the lines of a file in UTF-8 or, as in MovieLens 100K and 1M, Latin-1."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    # Not `splitlines`: some titles contain other Unicode line separators.
    return [line.rstrip("\r") for line in text.split("\n") if line.strip()]
