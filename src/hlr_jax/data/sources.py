"""The registry of named data sets: where they are published, and how the paper prepares them (section 4.1)."""

from dataclasses import dataclass

from hlr_jax.errors import InputError, pick

_GROUPLENS = "https://files.grouplens.org/datasets"
_MILLION_SONGS = "https://labrosa.ee.columbia.edu/millionsong/sites/default/files/challenge"
_SNAP = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles"


@dataclass(frozen=True)
class Source:
    """One place that a data set can be had from, and how the paper prepares what is there.

    Attributes:
      url: an https address of an archive or a plain file; ``wheel:NAME==VERSION`` for a package of a Python index;
        empty where the file must be fetched by hand.
      sha256: of the file at ``url``; empty where it isn't known here: then the hash of the first download is
        recorded beside it, and checked from then on.
      interactions, titles: names of the members inside the archive (of the file itself, if it is no archive).
      layout: a name of ``reading.formats.FORMATS``, and of ``titles.TITLE_READERS`` where there are titles.
      threshold: the least rating that counts as an interaction.
      k_core: least interactions of users and items.
      by_hand: where to get the file that can't be fetched without a login.
    """

    url: str
    sha256: str
    interactions: str
    layout: str
    threshold: float
    k_core: int
    titles: str = ""
    by_hand: str = ""


def _movielens(size: str, sha256: str, suffix: str, folder: str = "") -> tuple[Source]:
    url, folder = f"{_GROUPLENS}/movielens/ml-{size}.zip", folder or f"ml-{size}"
    files = f"{folder}/ratings.{suffix}", f"{folder}/movies.{suffix}"
    return (Source(url, sha256, files[0], f"movielens-{suffix}", 4, 10, files[1]),)


DATASETS: dict[str, tuple[Source, ...]] = {
    "ml-100k": (
        Source(
            f"{_GROUPLENS}/movielens/ml-100k.zip",
            "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
            "ml-100k/u.data",
            "movielens-100k",
            threshold=4,
            k_core=10,
            titles="ml-100k/u.item",
        ),
        # The same ratings inside a wheel, for networks that reach a package index only.
        Source(
            "wheel:recbole==1.2.1",
            "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
            "recbole/dataset_example/ml-100k/ml-100k.inter",
            "recbole",
            threshold=4,
            k_core=10,
            titles="recbole/dataset_example/ml-100k/ml-100k.item",
        ),
    ),
    "ml-1m": _movielens("1m", "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20", "dat"),
    "ml-10m": _movielens("10m", "", "dat", "ml-10M100K"),
    "ml-20m": _movielens("20m", "96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3", "csv"),
    "ml-25m": _movielens("25m", "8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa", "csv"),
    "echonest": (Source(f"{_MILLION_SONGS}/train_triplets.txt.zip", "", "train_triplets.txt", "taste-profile", 6, 10),),
    "yelp": (
        Source(
            "",
            "",
            "yelp_academic_dataset_review.json",
            "yelp-json",
            threshold=4,
            k_core=5,
            by_hand="accept the terms at https://www.yelp.com/dataset, download the JSON archive and unpack "
            "yelp_academic_dataset_review.json",
        ),
    ),
    "amazon-books": (Source(f"{_SNAP}/ratings_Books.csv", "", "ratings_Books.csv", "amazon-csv", 4, 10),),
    "lastfm-hetrec": (
        Source(
            f"{_GROUPLENS}/hetrec2011/hetrec2011-lastfm-2k.zip",
            "6738f48195667ff03caaab4d32ca9a3133d8cc026b7c3cdaf6ce1010e913c59c",
            "user_artists.dat",
            "hetrec",
            threshold=6,
            k_core=10,
            titles="artists.dat",
        ),
    ),
}
"""The sources of each data set, in order of preference."""

_OWN = tuple(DATASETS)


def register_dataset(name: str, *sources: Source) -> None:
    """Make ``load_dataset(name)``, and a config's ``dataset.name``, know a data set of one's own.

    Args:
      name: a new one.
      sources: in order of preference.

    Raises:
      InputError: the registry has that name.

    Example:
      >>> from hlr_jax.data.sources import Source
      >>> source = Source("https://example.org/log.csv", "", "log.csv", "csv", threshold=1, k_core=5)
      >>> hlr_jax.register_dataset("our-log", source)
    """
    if name in _OWN:
        raise InputError(f'"{name}" is a data set of this package; register yours under another name')
    DATASETS[name] = sources


def named_dataset(name: str) -> tuple[Source, ...]:
    """Return the sources of a data set of the registry.

    Raises:
      InputError: no such data set; names the nearest.
    """
    try:
        return DATASETS[pick(name, DATASETS, "data set")]
    except InputError as problem:
        raise InputError(f"{problem}; for your own file pass dataset.path") from None
