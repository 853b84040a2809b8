"""A blend as plain settings, for configs and saved recommenders."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from hlr_jax.blended_systems import Blend, Part
from hlr_jax.errors import InputError
from hlr_jax.systems import create_system, system_names
from hlr_jax.training.options import TrainOptions

Described = dict[str, dict[str, Any]]
"""Each part by its label: ``model`` (name and options), ``weight``, ``seed`` and ``training`` (None of a scorer)."""


def described(blend: Blend) -> Described:
    """Return the parts of a blend, JSON-like.

    Raises:
      InputError: a part's model was not made by name.
    """
    parts: Described = {}
    for label, part in blend.parts.items():
        system, options = part.system, dict(part.system.options)
        if system.name not in system_names() or create_system(system.name, **options) != system:
            raise InputError(
                f"part {label} of the blend has no registered name and can't be saved: make it with create_model, and "
                "register a model of your own with register_model first"
            )
        options.pop("kernel", None)  # depends on the device, and is not part of the model
        training = None if part.training is None else asdict(part.training)
        model = {"name": system.name, **options}
        parts[label] = {"model": model, "weight": part.weight, "seed": part.seed, "training": training}
    return parts


def from_description(parts: Mapping[str, Mapping[str, Any]]) -> Blend:
    """Return the blend from the result of ``described``.

    Raises:
      InputError: a setting is unknown or out of range, or see ``Blend``.
      KeyError, TypeError: the argument is not a result of ``described``.
    """
    made = {}
    for label, fields in parts.items():
        options = dict(fields["model"])
        training = None if fields["training"] is None else TrainOptions(**fields["training"])
        system = create_system(options.pop("name"), **options)
        assert not isinstance(system, Blend)
        made[label] = Part(system, float(fields["weight"]), int(fields["seed"]), training)
    return Blend(made)
