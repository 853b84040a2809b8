import jax
import jax.numpy as jnp
import numpy as np

from hlr_jax.losses import hinge_hardest, hinge_mean


def test_hinges_by_hand():
    positive, negatives, margin = jnp.float32(1.0), jnp.array([0.8, 2.0, 1.2]), jnp.float32(0.5)
    np.testing.assert_allclose(hinge_hardest(positive, negatives, margin), 0.7, rtol=1e-6)
    np.testing.assert_allclose(hinge_mean(positive, negatives, margin), (0.7 + 0.0 + 0.3) / 3, rtol=1e-6)


def test_only_the_hardest_negative_moves():
    gradient = jax.grad(hinge_hardest, argnums=1)(jnp.float32(1.0), jnp.array([0.8, 2.0, 1.2]), jnp.float32(0.5))
    np.testing.assert_array_equal(gradient, [-1, 0, 0])
