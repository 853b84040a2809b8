"""Protocols: every choice of evaluation by one name: split sizes and metric definitions."""

from typing import NamedTuple

from hlr_jax.errors import pick
from hlr_jax.files import sha256_of


class Protocol(NamedTuple):
    """How metrics are measured.

    Attributes:
      name: of the protocol.
      split: the kind of split; the sizes below only apply to ``SIZED_SPLITS``.
      test_size: share of all interactions.
      valid_size: share of the remaining interactions.
      test_neighbors: the splits that give the neighbors of a pair at test: ``train`` or ``train+valid``.
      solver_mask: the splits whose items MF-ALS does not recommend at test. For all other models it is train+valid.
      mrr: the definition of MRR: ``mrr`` (the first hit) or ``rr_sum`` (all hits).
      map: the definition of MAP: ``map`` (divided by the reachable hits) or ``map_over_k`` (by K).
      popularity: the definition of Popularity: ``shown_popularity`` (median over all recommendations) or
        ``median_popularity`` (median over the distinct recommended items).
      spread: what the standard deviation is taken over: ``seeds``, or ``cohorts`` of users of one trained model.
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
        """The first 16 digits of a hash; metrics with different hashes are not comparable.

        The hash leaves out the split, which the fingerprint of the data set includes.
        """
        return sha256_of(self._replace(split="given", test_size=0.0, valid_size=0.0)._asdict())[:16]

    def metric_names(self) -> dict[str, str]:
        """Return the metric for each name that has more than one definition."""
        return {"MAP": self.map, "MRR": self.mrr, "Popularity": self.popularity}


PROTOCOLS = {
    # Sections 4.1 and 4.2 of the paper; where the paper is not specific, the standard definition.
    "paper": Protocol(
        "paper", "random", 0.1, 1 / 9, "train", "train+valid", "mrr", "map", "shown_popularity", "seeds"
    ),
    # As in the released code.
    "reference": Protocol(
        "reference", "random", 0.2, 0.1, "train+valid", "train", "rr_sum", "map_over_k", "median_popularity", "cohorts"
    ),
}  # fmt: skip

SIZED_SPLITS = ("random", "per-user", "time")


def protocol_for(name: str, split: str) -> Protocol:
    """Return a protocol for a kind of split; its sizes are 0 for splits without sizes.

    Raises:
      InputError: unknown protocol.
    """
    protocol = PROTOCOLS[pick(name, PROTOCOLS, "dataset.protocol")]._replace(split=split)
    return protocol if split in SIZED_SPLITS else protocol._replace(test_size=0.0, valid_size=0.0)
