"""The five sections of every config. Each is the keyword arguments of one part of the package."""

import inspect
import typing
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict, config_dict

from hlr_jax.data.options import DataOptions
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.mesh import MeshOptions
from hlr_jax.training.options import TrainOptions

PLANTED_SMALL = "planted-500x300x15000"


def base_config(data: str) -> ConfigDict:
    """Return the defaults, with ``dataset`` set for ``data``.

    Args:
      data: a data set of the registry; ``split``: a file of ``user``, ``item``, ``split`` columns; ``file``: your own
        file; ``planted``: a small synthetic data set with planted relations. The files of ``split`` and ``file`` are
        given by ``--config.dataset.path``.
    """
    config = ConfigDict()
    config.dataset = defaults(DataOptions)
    config.dataset.name = {"split": "", "file": "", "planted": PLANTED_SMALL}.get(data, data)
    if data == "split":
        config.dataset.split = "given"
    config.model = ConfigDict()
    config.train = defaults(TrainOptions)
    config.eval = defaults(EvalOptions)
    config.mesh = defaults(MeshOptions)
    config.seed = 0
    return config


def defaults(part: Callable[..., Any]) -> ConfigDict:
    """Return the keyword arguments of a function or dataclass with their defaults.

    A None becomes a placeholder of the argument's type (the ``float`` of ``float | None``), so that the command line
    can set it.
    """
    section = ConfigDict()
    for name, parameter in inspect.signature(part).parameters.items():
        default = parameter.default
        if default is None:
            default = config_dict.placeholder(typing.get_args(parameter.annotation)[0])
        section[name] = default
    return section
