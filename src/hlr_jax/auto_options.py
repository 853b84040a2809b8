"""The settings of ``auto``: the section ``model`` of a config with ``model.name=auto``. Imports no JAX."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from hlr_jax.settings import Settings, number, words

NAME = "auto"
PARTS = ("ease", "item_knn", "mf_als", "cml", "hlr")
MATRICES = {"ease", "item_knn"}  # matrices of items by items, which a large catalog may rule out


@dataclass(frozen=True, kw_only=True)
class AutoOptions(Settings):
    """Which systems are tried, and limits of the search.

    Attributes:
      parts: the kinds of systems, in any order. ``ease``, ``item_knn`` and ``mf_als`` are closed forms. ``cml``, with
        users made from their items, and ``hlr`` are trained from the factors of MF-ALS.
      max_dim: D, the largest dimension of vectors.
      time_budget: seconds after which no further step begins; 0: no limit, so that the result depends only on settings
        and validation. Finished steps are recorded, and a resumed run reuses them.
    """

    section: ClassVar[str] = "model"

    parts: tuple[str, ...] = words(("ease", "item_knn", "mf_als", "cml"), PARTS)
    max_dim: int = number(1024, 16, 65536)
    time_budget: float = number(0.0, 0.0, 1e9)


def is_auto(config: Mapping[str, Any]) -> bool:
    """Return whether settings are for ``auto``."""
    return config.get("model", {}).get("name") == NAME
