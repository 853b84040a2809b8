"""The registry of named data sets: where they are published, and how the paper prepares them (section 4.1)."""

from dataclasses import dataclass

from hlr_jax.errors import InputError, pick

_GROUPLENS = "https://files.grouplens.org/datasets"


@dataclass(frozen=True)
class Source:
    """One place that a data set can be had from.

    Attributes:
      url: an https address of an archive or a plain file; ``wheel:NAME==VERSION`` for a package of a Python index;
        empty where the file must be fetched by hand.
      sha256: of the file at ``url``; empty where it isn't known here: then the hash of the first download is
        recorded beside it, and checked from then on.
      interactions, titles: names of the members inside the archive (of the file itself, if it is no archive).
      layout: a name of ``readers.FORMATS``, and of ``titles.TITLE_READERS`` where there are titles.
    """

    url: str
    sha256: str
    interactions: str
    layout: str
    titles: str = ""


@dataclass(frozen=True)
class NamedDataset:
    """A data set with its sources in order of preference, its binarisation threshold and its k-core.

    ``by_hand`` says where to get it and where to put it when no source can be fetched without a login.
    """

    sources: tuple[Source, ...]
    threshold: float
    k_core: int
    by_hand: str = ""


def _movielens(size: str, sha256: str, folder: str, layout: str) -> NamedDataset:
    suffix = "dat" if layout == "movielens-dat" else "csv"
    source = Source(
        f"{_GROUPLENS}/movielens/ml-{size}.zip",
        sha256,
        f"{folder}/ratings.{suffix}",
        layout,
        f"{folder}/movies.{suffix}",
    )
    return NamedDataset((source,), threshold=4, k_core=10)


DATASETS: dict[str, NamedDataset] = {
    "ml-100k": NamedDataset(
        (
            Source(
                f"{_GROUPLENS}/movielens/ml-100k.zip",
                "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
                "ml-100k/u.data",
                "movielens-100k",
                "ml-100k/u.item",
            ),
            # The same ratings inside a wheel, for networks that reach a package index only.
            Source(
                "wheel:recbole==1.2.1",
                "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
                "recbole/dataset_example/ml-100k/ml-100k.inter",
                "recbole",
                "recbole/dataset_example/ml-100k/ml-100k.item",
            ),
        ),
        threshold=4,
        k_core=10,
    ),
    "ml-1m": _movielens(
        "1m", "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20", "ml-1m", "movielens-dat"
    ),
    "ml-10m": _movielens("10m", "", "ml-10M100K", "movielens-dat"),
    "ml-20m": _movielens(
        "20m", "96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3", "ml-20m", "movielens-csv"
    ),
    "ml-25m": _movielens(
        "25m", "8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa", "ml-25m", "movielens-csv"
    ),
    "echonest": NamedDataset(
        (
            Source(
                "https://labrosa.ee.columbia.edu/millionsong/sites/default/files/challenge/train_triplets.txt.zip",
                "",
                "train_triplets.txt",
                "taste-profile",
            ),
        ),
        threshold=6,
        k_core=10,
    ),
    "yelp": NamedDataset(
        (Source("", "", "yelp_academic_dataset_review.json", "yelp-json"),),
        threshold=4,
        k_core=5,
        by_hand="accept the terms at https://www.yelp.com/dataset, download the JSON archive and unpack "
        "yelp_academic_dataset_review.json",
    ),
    "amazon-books": NamedDataset(
        (
            Source(
                "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/ratings_Books.csv",
                "",
                "ratings_Books.csv",
                "amazon-csv",
            ),
        ),
        threshold=4,
        k_core=10,
    ),
    "lastfm-hetrec": NamedDataset(
        (
            Source(
                f"{_GROUPLENS}/hetrec2011/hetrec2011-lastfm-2k.zip",
                "6738f48195667ff03caaab4d32ca9a3133d8cc026b7c3cdaf6ce1010e913c59c",
                "user_artists.dat",
                "hetrec",
                "artists.dat",
            ),
        ),
        threshold=6,
        k_core=10,
    ),
}


_OWN = tuple(DATASETS)


def register_dataset(name: str, dataset: NamedDataset) -> None:
    """Make ``load_dataset(name)``, and a config's ``dataset.name``, know a data set of one's own.

    Raises:
      InputError: the registry has that name.

    Example:
      >>> source = Source("https://example.org/log.csv", "", "log.csv", "csv")
      >>> register_dataset("our-log", NamedDataset((source,), threshold=1, k_core=5))
    """
    if name in _OWN:
        raise InputError(f'"{name}" is a data set of this package; register yours under another name')
    DATASETS[name] = dataset


def named_dataset(name: str) -> NamedDataset:
    """Return the registry's entry for ``name``.

    Raises:
      InputError: no such data set; names the nearest.
    """
    try:
        return DATASETS[pick(name, DATASETS, "data set")]
    except InputError as problem:
        raise InputError(f"{problem}; for your own file pass dataset.path") from None
