"""Why an item: what of a user's history moved them toward it, by the model's own weights."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from hlr_jax.data.interactions import Dataset
from hlr_jax.data.neighborhoods import look_up, neighbor_tables, sides_of
from hlr_jax.errors import UserError
from hlr_jax.evaluation.tiles import drawn_audiences, drawn_for_ranking
from hlr_jax.models.base import Model
from hlr_jax.serving.lists import codes_of, known_interactions
from hlr_jax.storage import widened
from hlr_jax.types import Neighbors, Padded, PairOutput, Params


def explain(
    model: Model, params: Params, dataset: Dataset, user: object, items: Sequence[object], *, seed: int = 0
) -> pl.DataFrame:
    """Return what of the user's history moved them toward each item, by the attention's own weights.

    Args:
      model: one that attends over the history.
      params: its parameters.
      dataset: the data set that the model was trained on.
      user: an original id.
      items: original ids.
      seed: as given to ``recommend``: it draws the same history.

    Returns:
      A frame of ``item``, ``title``, ``neighbor`` (an item of the history), ``neighbor_title``, ``neighbor_weight``
      (alpha; its sum over an item's neighbors is 1, less what the user's own vector takes in HLR's variant
      ``reference``), ``memory`` (the key that this neighbor and the item address most) and ``memory_weight``, both
      null for a model without memories; for each item the largest weight first.

    Raises:
      UserError: an unknown id, or a model without history.
    """
    if not model.history.drawn:
        raise UserError(f"model {model.name} attends over no history, so it gives no reasons")
    params = widened(params)
    code = jnp.asarray(codes_of(dataset.user_ids, [user], "users")[0])
    targets = jnp.asarray(codes_of(dataset.item_ids, items, "items"), jnp.int32)
    near = known_interactions(dataset)
    sides = sides_of(near, dataset.num_users, dataset.num_items, model.history, model.audience)
    key = jax.random.key(seed)
    drawn = drawn_for_ranking(key, sides.history, code)
    history = look_up(params["item"], drawn)
    audience = look_up(neighbor_tables(params, sides).users, drawn_audiences(key, sides.audience, targets))

    @jax.jit
    @partial(jax.vmap, in_axes=(0, 0))
    def explained(item: jax.Array, users: Padded) -> PairOutput:
        return model.pair(params, params["user"][code], params["item"][item], Neighbors(history, users))

    output = explained(targets, audience)
    real = np.flatnonzero(np.asarray(drawn.mask))
    neighbors = np.asarray(drawn.ids)[real]
    alpha, weights = np.asarray(output.neighbor_weights)[:, real], np.asarray(output.memory_weights)[:, real]
    memory = weight = [None] * alpha.size
    if weights.shape[-1]:
        memory, weight = weights.argmax(axis=-1).ravel(), weights.max(axis=-1).ravel()
    count = len(real)
    frame = pl.DataFrame(
        {
            "order": np.repeat(np.arange(len(items)), count),
            "item": dataset.item_ids.gather(np.repeat(np.asarray(targets), count)),
            "title": [dataset.title(int(item)) for item in np.repeat(np.asarray(targets), count)],
            "neighbor": dataset.item_ids.gather(np.tile(neighbors, len(items))),
            "neighbor_title": [dataset.title(int(item)) for item in np.tile(neighbors, len(items))],
            "neighbor_weight": alpha.ravel(),
            "memory": pl.Series(memory, dtype=pl.Int64),
            "memory_weight": pl.Series(weight, dtype=pl.Float32),
        }
    )
    return frame.sort(["order", "neighbor_weight"], descending=[False, True], maintain_order=True).drop("order")
