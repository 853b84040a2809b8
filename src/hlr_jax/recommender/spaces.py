"""Methods of a recommender for the learned space: nearest neighbors and memory keys."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import polars as pl

from hlr_jax.analysis.attention import attend, attention_sources, check_keys
from hlr_jax.analysis.keys import key_table
from hlr_jax.blended_systems import Blend
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.neighbor_sampling import NeighborSources
from hlr_jax.errors import InputError, pick
from hlr_jax.models.base import Model
from hlr_jax.ranking.population import Population
from hlr_jax.serving.nearest import nearest_keys, similar_items, similar_users
from hlr_jax.systems import System, require_model
from hlr_jax.types import Params


class Spaces:
    """The part of ``Recommender`` that uses vectors; in a blend, those of one part."""

    model: System
    params: Params
    dataset: Dataset
    seed: int

    @property
    def users(self) -> Population:
        """The users that the model was trained on."""
        raise NotImplementedError

    @property
    def parts(self) -> Mapping[str, "Spaces"]:
        """Each part of a blend, by label."""
        raise NotImplementedError

    def with_array(self, array: str, part: str | None = None) -> tuple["Spaces", list[pl.Expr]]:
        """Return the recommender whose parameters include an array, such as ``item`` or ``keys``.

        It is the recommender itself or, in a blend, one of its parts.

        Args:
          array: name of the array.
          part: a label; None: the first part that has the array.

        Returns:
          The recommender; and, in a blend, the column ``part``.

        Raises:
          InputError: no such part, or no part with the array.
        """
        if not isinstance(self.model, Blend):
            if part is not None:
                raise InputError(f"part={part}: {self.model.title} is not a blend and has no parts")
            return self, []
        if part is None:
            having = (label for label, own in self.parts.items() if array in own.params)
            part = next(having, None)
        if part is None:
            raise InputError(f"no part of the blend has {'vectors' if array == 'item' else array}")
        return self.parts[pick(part, self.parts, "part of the blend")], [pl.lit(part).alias("part")]

    def similar_items(self, items: Any, k: int = 10, part: str | None = None) -> pl.DataFrame:
        """Return the ``k`` nearest items of each item; see ``hlr_jax.similar_items``.

        In a blend they come from one ``part``, by default the first one with vectors. The column ``part`` names it.
        """
        own, label = self.with_array("item", part)
        found = similar_items(own._vectors("similar"), own.params, self.dataset, items, k=k)
        return found.with_columns(label)

    def similar_users(self, users: Any, k: int = 10, part: str | None = None) -> pl.DataFrame:
        """Return the ``k`` nearest users of each user; see ``similar_items`` and ``hlr_jax.similar_users``."""
        own, label = self.with_array("item", part)
        found = similar_users(own._vectors("similar"), own.params, self.dataset, users, k=k)
        return found.with_columns(label)

    def nearest_keys(
        self, items: Any, *, other: object = None, user: object = None, k: int = 3, part: str | None = None
    ) -> pl.DataFrame:
        """Return the keys that each item addresses most, in a blend of one part; see ``hlr_jax.nearest_keys``."""
        own, label = self.with_array("keys", part)
        model, among = own._vectors("nearest_keys"), None if user is None else own.users
        found = nearest_keys(
            model, own.params, self.dataset, items, other=other, user=user, k=k, among=among, seed=own.seed
        )
        return found.with_columns(label)

    def _vectors(self, purpose: str) -> Model:
        return require_model(self.model, purpose)

    def keys(
        self, *, interactions: int = 2000, categories: pl.DataFrame | None = None, seed: int = 0,
        part: str | None = None,
    ) -> pl.DataFrame:  # fmt: skip
        """Return a row for each memory key that describes its use in a sample of interactions.

        ``hlr_jax.analysis.keys.key_table`` describes the columns, and ``key_cards`` makes text of them. In a blend they
        are the keys of one ``part``.

        Raises:
          InputError: a model without keys for pairs of items.
        """
        own, _ = self.with_array("keys", part)
        model = own._vectors("keys")
        check_keys(model, own.params)
        sample = attend(model, own.params, self.dataset, interactions=interactions, seed=seed, sources=own._attention)
        return key_table(sample, own.params, self.dataset, categories=categories, seed=seed)

    @cached_property
    def _attention(self) -> NeighborSources:
        return attention_sources(self._vectors("keys"), self.dataset)
