"""Identifies a model by its options or, without options, by its functions and shapes."""

import re
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr

from hlr_jax.files import sha256_of
from hlr_jax.models.base import Model
from hlr_jax.types import CSR, Neighbors, Padded, Params

_USERS, _ITEMS = 3, 5


def model_identity(model: Model) -> Any:
    """Return the identity of a model for checkpoints, JSON-like; different models have different identities.

    The identity of a model with options is its name and options. A model without options was constructed directly, so
    its functions are traced by JAX and hashed, with the values of all their constants. The version of JAX is part of
    this identity, because another version may trace the same function differently.
    """
    if model.options:
        # The kernel only chooses how the attention is computed, so it is not part of the identity.
        return [model.name, [option for option in model.options if option[0] != "kernel"]]
    specs = [list(model.history), list(model.item_users), model.share_relation, [list(spec) for spec in model.arrays]]
    return {"name": model.name, "jax": jax.__version__, "functions": sha256_of([_traces(model), specs])}


def _traces(model: Model) -> list[Any]:
    """Return the traces of a model's functions, for small shapes."""
    key = jax.random.key(0)
    params: Params = jax.eval_shape(lambda: model.init(key, _USERS, _ITEMS))
    dim = params["item"].shape[1]
    shape: Any = jax.ShapeDtypeStruct

    def padded(*size: int) -> Padded:
        return Padded(shape((*size, dim), jnp.float32), shape(size, bool))

    everything, vector = params | derived_shapes(model, params), shape((dim,), jnp.float32)
    own = {
        name: array if model.axis_of(name) == "shared" else shape(array.shape[1:], array.dtype)
        for name, array in everything.items()
    }
    near = Neighbors(padded(model.history.size), padded(model.item_users.size))
    traces: list[Any] = [
        _trace(lambda key: model.init(key, _USERS, _ITEMS), key),
        _trace(model.pair, own, vector, vector, near),
    ]
    traces.append(_trace(model.project, params))
    if model.derived is not None:
        traces.append(_trace(model.derived, params, *_derived_inputs()))
    if model.history_users is not None:
        traces.append([model.history_users.source, _trace(model.history_users.pool, vector, shape((), jnp.int32))])
    if model.penalty is not None:
        of_items = {name: shape((2, *own[name].shape), own[name].dtype) for name in model.on_axis(everything, "item")}
        near = Neighbors(padded(model.history.size), padded(2, model.item_users.size))
        pair = own | of_items, vector, shape((2, dim), jnp.float32), near, shape((2,), jnp.float32)
        traces.append(_trace(model.penalty, *pair))
    return [*traces, None if model.solver is None else list(model.solver)]


def _derived_inputs() -> tuple[CSR, CSR, jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
    """Return the shapes of the arguments of ``Model.derived`` after the parameters."""
    sizes = 1, _USERS + 1, _ITEMS + 1, _USERS, _ITEMS
    shapes: Any = [jax.ShapeDtypeStruct((size,), jnp.int32) for size in sizes]
    entries, of_users, of_items, users, items = shapes
    return CSR(of_users, entries, 2), CSR(of_items, entries, 2), users, items


def derived_shapes(model: Model, params: Params) -> Params:
    """Return the shapes of the arrays that a model derives, for a few users and items."""
    return {} if model.derived is None else jax.eval_shape(model.derived, params, *_derived_inputs())


def _trace(function: Any, *arguments: Any) -> list[str]:
    """Return a function's traced program as text, and a hash of each of its constants."""
    closed = jax.make_jaxpr(function)(*arguments)
    # Memory addresses of Python functions differ between processes.
    return [re.sub(r"0x[0-9a-f]+", "", str(closed.jaxpr)), *map(_hash_of, _constants(closed))]


def _constants(program: ClosedJaxpr | Jaxpr) -> Iterator[Any]:
    """Yield the constants of a program and of its nested programs: a jitted function has its own constants."""
    if isinstance(program, ClosedJaxpr):
        yield from program.consts
        program = program.jaxpr
    for step in program.eqns:
        for value in jax.tree.leaves(list(step.params.values())):
            if isinstance(value, ClosedJaxpr | Jaxpr):
                yield from _constants(value)


def _hash_of(constant: Any) -> str:
    if jnp.issubdtype(constant.dtype, jax.dtypes.prng_key):
        constant = jax.random.key_data(constant)
    array = np.asarray(constant)
    return sha256_of([str(array.dtype), array.tobytes().hex()])
