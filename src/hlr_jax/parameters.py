"""Checks that parameters belong to a model and a data set."""

from functools import lru_cache
from typing import Any

import jax

from hlr_jax.blended_systems import Blend
from hlr_jax.errors import InputError
from hlr_jax.models.base import Model
from hlr_jax.sharding import grid_of, padded_size
from hlr_jax.systems import System
from hlr_jax.types import Params


def check_params(model: System, params: Params, num_users: int, num_items: int) -> None:
    """Check the parameters of a model, the state of a scorer, or those of each part of a blend, for U users, I items.

    Every function that computes with given parameters calls this. Without the check, ignored arrays or wrong numbers
    of rows would give recommendations of an untrained model.

    Raises:
      InputError: extra or missing arrays, or wrong shapes.
    """
    again = "pass the model, parameters and data set of the same run"
    if isinstance(model, Blend):
        if set(params) != set(model.parts):
            raise InputError(f"parameters of another blend: its parts are {', '.join(model.parts)}; {again}")
        own: Any = params
        for label, part in model.parts.items():
            check_params(part.system, own[label], num_users, num_items)
        return
    if isinstance(model, Model):
        expected, shards = _shapes(model, num_users, num_items), grid_of(params)[1] if "item" in params else 1
    else:
        shapes = getattr(model, "shapes", None)
        if shapes is None:  # scorers may leave out `shapes`
            return
        expected, shards = shapes(num_items), 1
    for few, many, verb in ((expected, params, "has no"), (params, expected, "has")):
        if names := sorted(set(many) - set(few)):
            where = "" if verb == "has no" else ", but the parameters do not"
            raise InputError(f"parameters of another model: {model.name} {verb} {', '.join(names)}{where}; {again}")
    for name, shape in expected.items():
        # On a mesh, tables have rows of padding at their ends.
        padded = (padded_size(shape[0], shards), *shape[1:]) if name in ("user", "item") else shape
        if (there := tuple(params[name].shape)) != padded:
            raise InputError(
                f"parameters of another model or data set: {name} has shape {list(there)}, but should have "
                f"{list(shape)} for model {model.name}, {num_users:,} users and {num_items:,} items; {again}"
            )


@lru_cache(maxsize=64)
def _shapes(model: Model, num_users: int, num_items: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of each parameter."""
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), num_users, num_items))
    return {name: array.shape for name, array in params.items()}
