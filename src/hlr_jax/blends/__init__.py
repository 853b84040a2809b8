"""Blends: several fitted systems as one recommender, by weighted scores."""

from hlr_jax.blends.blend import Blend as Blend
from hlr_jax.blends.blend import Part as Part
