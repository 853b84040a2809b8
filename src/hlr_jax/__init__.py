"""Relational collaborative metric learning in JAX: HLR (Tran et al. 2021) and what it is measured against."""

from hlr_jax.data.interactions import Dataset
from hlr_jax.data.planted import PlantedWorld, planted_world
from hlr_jax.data.prepare import load_dataset
from hlr_jax.errors import UserError

__all__ = ["Dataset", "PlantedWorld", "UserError", "load_dataset", "planted_world"]
