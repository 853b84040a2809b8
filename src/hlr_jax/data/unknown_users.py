"""Handles users of valid or test without training interactions: an error, kept, or left out.

The interactions that are left out are stored, so that training on all splits can use them.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from hlr_jax.data.encoding import divided, encode
from hlr_jax.data.interactions import Interactions
from hlr_jax.data.titles import titles_of
from hlr_jax.errors import InputError

if TYPE_CHECKING:
    from hlr_jax.data.dataset import Dataset


def settle(dataset: "Dataset", policy: str, where: str) -> "Dataset":
    """Keep or drop users of valid and test without training interactions.

    Raises:
      InputError: there are such users and the policy is ``error``; names the first.
    """
    if policy == "drop":
        return leave_out(dataset)
    unknown = np.flatnonzero(~_known(dataset))
    if policy == "error" and len(unknown):
        split = "valid" if unknown[0] in dataset.valid.user else "test"
        raise InputError(
            f"{where}: user {dataset.user_ids[int(unknown[0])]} is in {split} but not in train "
            f"({len(unknown)} such users); pass dataset.unknown_users=drop to leave out their rows, or keep"
        )
    return dataset


def _known(dataset: "Dataset") -> np.ndarray:
    return dataset.train.degrees(dataset.num_users) > 0


def leave_out(dataset: "Dataset") -> "Dataset":
    """Return the data set without users who have no training interactions; ``left_out`` has their interactions."""
    known = _known(dataset)
    if known.all():
        return dataset
    theirs: dict[str, Any] = {name: part.where(~known[part.user]) for name, part in dataset.splits.items()}
    left = replace(dataset, **theirs).to_frame()
    if dataset.titles is not None:
        left = left.hstack(titles_of(left["item"], _titled(dataset)))
    parts = {name: part.where(known[part.user]) for name, part in dataset.splits.items()}
    present = np.zeros(dataset.num_items, bool)
    for part in parts.values():
        present[part.item] = True
    user_codes, item_codes = (np.cumsum(mask, dtype=np.int32) - np.int32(1) for mask in (known, present))
    coded: dict[str, Any] = {
        name: Interactions(user_codes[part.user], item_codes[part.item]) for name, part in parts.items()
    }
    return replace(
        dataset,
        **coded,
        user_ids=dataset.user_ids.filter(pl.Series(known)),
        item_ids=dataset.item_ids.filter(pl.Series(present)),
        titles=None if dataset.titles is None else dataset.titles.filter(pl.Series(present)),
        left_out=left if dataset.left_out is None else pl.concat([dataset.left_out, left]),
    )


def bring_back(dataset: "Dataset") -> "Dataset":
    """Return the data set with the interactions that ``leave_out`` removed, in their original splits."""
    if dataset.left_out is None:
        return dataset
    interactions = pl.concat([dataset.to_frame(), dataset.left_out.select("user", "item", "split")])
    rows, user_ids, item_ids = encode(interactions, dataset.name)
    user, item, parts = (rows[column].to_numpy() for column in ("user", "item", "split"))
    titles = None
    if dataset.titles is not None:
        known = [frame.select("item", "title", "genres") for frame in (_titled(dataset), dataset.left_out)]
        titles = titles_of(item_ids, pl.concat(known))
    splits = divided(Interactions(user, item), parts)
    return replace(dataset, **splits, user_ids=user_ids, item_ids=item_ids, titles=titles, left_out=None)


def _titled(dataset: "Dataset") -> pl.DataFrame:
    """Return ``item``, ``title`` and ``genres`` of each item; the data set must have titles."""
    assert dataset.titles is not None
    return dataset.titles.with_columns(dataset.item_ids.alias("item"))
