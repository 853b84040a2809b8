"""Protocols: everything in which two measurements of one model can differ, chosen by one name."""

from typing import NamedTuple

from hlr_jax.errors import pick
from hlr_jax.files import sha256_of


class Protocol(NamedTuple):
    """How metrics are measured.

    Attributes:
      name: of the protocol.
      split: the kind of the split; the sizes below count only for those that draw or cut by size.
      test_size: share of all interactions.
      valid_size: share of what then remains.
      test_neighbors: what the neighbors of a pair at test are from: ``train``, or ``train+valid``.
      solver_mask: what is left out of the lists of MF-ALS at test; all other models leave out train+valid.
      mrr: the metric that is called MRR: ``mrr`` (the first hit) or ``rr_sum`` (all hits).
      map: the metric that is called MAP: ``map`` (divided by the reachable hits) or ``map_over_k`` (by K).
      popularity: the metric that is called Popularity: ``shown_popularity`` (median over all places of all lists) or
        ``median_popularity`` (over the distinct items).
      spread: what a standard deviation is over: ``seeds``, or ``cohorts`` of users of one trained model.
    """

    name: str
    split: str
    test_size: float
    valid_size: float
    test_neighbors: str
    solver_mask: str
    mrr: str
    map: str
    popularity: str
    spread: str

    @property
    def hash(self) -> str:
        """The first 16 digits of a hash: metrics with different ones are not comparable.

        How a data set was split is in its own fingerprint, so the hash is that of the protocol on given splits.
        """
        return sha256_of(self._replace(split="given", test_size=0.0, valid_size=0.0)._asdict())[:16]

    def metric_names(self) -> dict[str, str]:
        """Return the metric behind each name that has more than one definition."""
        return {"MAP": self.map, "MRR": self.mrr, "Popularity": self.popularity}


PROTOCOLS = {
    # Sections 4.1 and 4.2 of the paper; what it leaves open is the standard definition.
    "paper": Protocol(
        "paper", "random", 0.1, 1 / 9, "train", "train+valid", "mrr", "map", "shown_popularity", "seeds"
    ),
    # What the released code does.
    "reference": Protocol(
        "reference", "random", 0.2, 0.1, "train+valid", "train", "rr_sum", "map_over_k", "median_popularity", "cohorts"
    ),
}  # fmt: skip

SIZED_SPLITS = ("random", "per-user", "time")


def protocol_for(name: str, split: str) -> Protocol:
    """Return a protocol for a kind of split. Where a split has no sizes, neither has the protocol.

    Raises:
      InputError: no such protocol.
    """
    protocol = PROTOCOLS[pick(name, PROTOCOLS, "dataset.protocol")]._replace(split=split)
    return protocol if split in SIZED_SPLITS else protocol._replace(test_size=0.0, valid_size=0.0)
