"""Models by name: those of this package, and those that a program registers."""

import importlib
import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from hlr_jax.errors import InputError, check_options, pick
from hlr_jax.models.options import MODEL_OPTIONS

if TYPE_CHECKING:
    from hlr_jax.models.base import Model

_registered: dict[str, "Callable[..., Model]"] = {}


def model_names() -> tuple[str, ...]:
    """Return the names of all models: those of this package, and what was registered.

    Example:
      >>> hlr_jax.model_names()[:3]
      ('mf_als', 'cml', 'lrml')
    """
    return (*MODEL_OPTIONS, *_registered)


def options_of(name: str) -> Callable[..., Any]:
    """Return what takes the options of a model by keyword: for help and checks, without making the model.

    Raises:
      InputError: an unknown model.
    """
    return MODEL_OPTIONS.get(name) or _registered[pick(name, model_names(), "model")]


def register_model(name: str, factory: "Callable[..., Model]") -> None:
    """Make ``create_model(name, ...)``, and a config's ``model.name``, call a factory of one's own.

    Args:
      name: a new one.
      factory: takes options by keyword, each with a default, and returns a ``Model`` of that name.

    Raises:
      InputError: a model of this package has the name.

    Example:
      >>> def small_cml(*, embed_dim=8):
      ...     return hlr_jax.create_model("cml", embed_dim=embed_dim)._replace(name="small_cml")
      >>> hlr_jax.register_model("small_cml", small_cml)
      >>> hlr_jax.create_model("small_cml", embed_dim=4).options
      (('embed_dim', 4),)
    """
    if name in MODEL_OPTIONS:
        raise InputError(f'"{name}" is a model of this package; register yours under another name')
    _registered[name] = factory


def create_model(name: "str | Callable[..., Model]", **options: Any) -> "Model":
    """Make a model by name, or by a factory of one's own; ``options`` are the factory's keyword arguments.

    The same options give the same model, so that what is compiled for it once serves every call.

    Raises:
      InputError: an unknown model, an option that the model does not have, or a value out of range.

    Example:
      >>> hlr = hlr_jax.create_model("hlr", embed_dim=16)
      >>> hlr.title, hlr == hlr_jax.create_model("hlr", embed_dim=16)
      ('HLR', True)
    """
    if isinstance(name, str):
        pick(name, model_names(), "model")
        factory = _registered.get(name) or getattr(importlib.import_module(f"hlr_jax.models.{name}"), name)
    elif callable(name):
        factory = name
    else:
        raise InputError(f"a model is made by its name or by a function that returns one, not by {name!r}")
    check_options(factory, options, "model")
    parameters = inspect.signature(factory).parameters
    chosen = tuple(sorted((option, options.get(option, parameters[option].default)) for option in parameters))
    try:
        return _create(factory, **dict(chosen))
    except TypeError:
        if all(getattr(value, "__hash__", None) for _, value in chosen):
            raise
    return factory(**options)._replace(options=chosen)


@lru_cache(maxsize=256, typed=True)
def _create(factory: "Callable[..., Model]", /, **chosen: Any) -> "Model":
    # Options by keyword, so that the cache tells 1 from 1.0 and True, which Python holds to be equal.
    return factory(**chosen)._replace(options=tuple(chosen.items()))
