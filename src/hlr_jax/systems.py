"""Systems that make recommendations: models, scorers and blends of them. This module does not import JAX."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from hlr_jax.auto_options import NAME as AUTO
from hlr_jax.auto_options import AutoOptions
from hlr_jax.blended_systems import Blend
from hlr_jax.errors import InputError, pick
from hlr_jax.models import registry
from hlr_jax.models.registry import create_model, model_names
from hlr_jax.scorers.base import Scorer
from hlr_jax.scorers.registry import SCORERS, create_scorer

if TYPE_CHECKING:
    from hlr_jax.models.base import Model

System: TypeAlias = Union["Model", Scorer, Blend]


def system_names() -> tuple[str, ...]:
    """Return the names of all scorers and models."""
    return (*SCORERS, *model_names())


def create_system(name: str, **options: Any) -> System:
    """Make a model or a scorer by name, with its options.

    Raises:
      InputError: an unknown name or option, a value out of range, or ``auto``, which is more than one system.
    """
    if name == AUTO:
        raise InputError(
            f'{AUTO} is not one system, but selects one of several; call hlr_jax.fit(dataset, "{AUTO}"), or run '
            f"hlr-jax train --config={AUTO}:DATA"
        )
    pick(name, system_names(), "model")
    return create_scorer(name, **options) if name in SCORERS else create_model(name, **options)


def options_of(name: str) -> Callable[..., Any]:
    """Return the callable that takes the options of a model, a scorer or ``auto`` by keyword, for help and checks.

    Raises:
      InputError: an unknown name.
    """
    if name == AUTO:
        return AutoOptions
    return SCORERS[name] if name in SCORERS else registry.options_of(name)


def system_title(name: str) -> str:
    """Return the display name of a model or scorer; for other names, the name itself."""
    return create_system(name).title if name in system_names() else name


def require_model(system: System, purpose: str) -> "Model":
    """Return a system that is a model.

    Args:
      system: any system.
      purpose: what needs a model, such as ``export``, for the message.

    Raises:
      InputError: it is a scorer or a blend.
    """
    from hlr_jax.models.base import Model

    if isinstance(system, Blend):
        raise InputError(f"a blend has no vectors, but {purpose} needs them; choose one of its parts")
    if not isinstance(system, Model):
        raise InputError(f"{system.title} has no vectors, but {purpose} needs them; choose a run of a model")
    return system
