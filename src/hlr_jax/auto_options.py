"""The settings of ``auto``: the section ``model`` of a config with ``model.name=auto``. Without JAX."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from hlr_jax.settings import Settings, number, words

NAME = "auto"
PARTS = ("ease", "item_knn", "mf_als", "cml", "hlr")
MATRICES = {"ease", "item_knn"}  # of items by items: a catalog may be too large for them


@dataclass(frozen=True, kw_only=True)
class AutoOptions(Settings):
    """What is tried, and how far.

    Attributes:
      parts: the kinds of systems, in any order: ``ease``, ``item_knn`` and ``mf_als`` are closed forms; ``cml``, with
        users who are made from their items, and ``hlr`` start from the factors of MF-ALS and are trained.
      max_dim: D, the most dimensions of vectors.
      time_budget: seconds after which no further step begins; 0: none, so that settings and validation alone decide
        what is done. What was done is recorded, and a run that goes on repeats that.
    """

    section: ClassVar[str] = "model"

    parts: tuple[str, ...] = words(("ease", "item_knn", "mf_als", "cml"), PARTS)
    max_dim: int = number(1024, 16, 65536)
    time_budget: float = number(0.0, 0.0, 1e9)


def is_auto(config: Mapping[str, Any]) -> bool:
    """Return whether settings are those of ``auto``."""
    return config.get("model", {}).get("name") == NAME
