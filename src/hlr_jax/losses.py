"""Objectives: the loss of one positive and n negatives, as a function of their distances alone.

A negative that must not count, such as an item of the user, has an infinite distance. It adds nothing to the loss and
has no gradient.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from hlr_jax.errors import InputError
from hlr_jax.objectives import READS


class LossParams(NamedTuple):
    """Parameters of objectives: ``margin`` [] of the hinge losses, ``temperature`` [] of the others."""

    margin: jax.Array
    temperature: jax.Array


Objective = Callable[[jax.Array, jax.Array, jax.Array, LossParams], jax.Array]
"""(positive distance [], negative distances [n], log expected counts [n], parameters) -> loss [].

The expected count of a negative is n q_v, where q_v is the probability of sampling the item v. The negative represents
1 / (n q_v) of the user's unknown items.
"""


def hinge_hardest(positive: jax.Array, negatives: jax.Array, log_expected: jax.Array, params: LossParams) -> jax.Array:
    """Return [margin + d(u, v) - min d(u, v-)]_+, eq. 8 of Tran et al. (2021) with the hardest of the n negatives.

    With many negatives the hardest is often an item that the user would like.
    """
    del log_expected
    return jax.nn.relu(params.margin + positive - negatives.min())


def hinge_mean(positive: jax.Array, negatives: jax.Array, log_expected: jax.Array, params: LossParams) -> jax.Array:
    """Return the mean over the n negatives of [margin + d(u, v) - d(u, v-)]_+ (eq. 8 for n = 1)."""
    del log_expected
    return _mean(jax.nn.relu(params.margin + positive - negatives), negatives)


def warp(positive: jax.Array, negatives: jax.Array, log_expected: jax.Array, params: LossParams) -> jax.Array:
    """Return log(1 + rank) [margin + d(u, v) - min d(u, v-)]_+ (Hsieh et al. 2017, section 3.2; Weston et al. 2010).

    The rank of the positive is estimated from the negatives that violate the margin, each weighted by the number of
    items that it represents. The rank has no gradient. With few negatives the estimate is coarse. With many negatives
    in a small catalogue, the hardest is often an item that the user would like, and recommendations get much worse
    (docs/results/findings.md).
    """
    violations = jax.nn.relu(params.margin + positive - negatives)
    rank = jnp.sum(jnp.where(violations > 0, jnp.exp(-log_expected), 0))
    return jax.lax.stop_gradient(jnp.log1p(rank)) * violations.max()


def bpr(positive: jax.Array, negatives: jax.Array, log_expected: jax.Array, params: LossParams) -> jax.Array:
    """Return the mean over the n negatives of log(1 + exp((d(u, v) - d(u, v-)) / t)) (Rendle et al. 2009).

    The loss never reaches zero: correctly ranked pairs still get a gradient, so rows drift to the boundary of the
    ball.
    """
    del log_expected
    return _mean(jax.nn.softplus((positive - negatives) / params.temperature), negatives)


def info_nce(positive: jax.Array, negatives: jax.Array, log_expected: jax.Array, params: LossParams) -> jax.Array:
    """Return -log of the softmax over the positive and the n negatives of -d / t (van den Oord et al. 2018, eq. 4).

    Its optimum depends on how negatives are sampled: popular negatives push popular items away.
    """
    del log_expected
    return _cross_entropy(-positive / params.temperature, -negatives / params.temperature)


def sampled_softmax(
    positive: jax.Array, negatives: jax.Array, log_expected: jax.Array, params: LossParams
) -> jax.Array:
    """Return an estimate of -log of the softmax of -d / t over the positive and all unknown items of the user.

    The logit of a negative is -d / t - log(n q_v), which weights it by the number of items that it represents (Bengio
    and Senecal 2008; Yi et al. 2019). The positive is always included, so it needs no correction. The estimate of the
    sum is unbiased, but that of its logarithm is not.
    """
    return _cross_entropy(-positive / params.temperature, -negatives / params.temperature - log_expected)


def decoupled_contrastive(
    positive: jax.Array, negatives: jax.Array, log_expected: jax.Array, params: LossParams
) -> jax.Array:
    """Return d(u, v) / t + log of the sum over negatives of exp(-d(u, v-) / t) (Yeh et al. 2022, eq. 5).

    This is ``info_nce`` without the positive in the sum, so the gradient does not vanish for a positive that is already
    near. The loss has no lower bound.
    """
    del log_expected
    logits = -negatives / params.temperature
    some = jnp.any(jnp.isfinite(logits))
    total = jax.nn.logsumexp(jnp.where(some, logits, 0))
    return jnp.where(some, positive / params.temperature + total, 0)


def positive_losses(
    objective: Objective, positives: jax.Array, negatives: jax.Array, log_expected: jax.Array, params: LossParams
) -> jax.Array:
    """Return the losses [P] of positives that have the same negatives [n]: ``objective`` for each of them.

    The softmaxes share the sum over the negatives, which then needs n exponentials instead of P n.
    """
    if objective not in (sampled_softmax, info_nce):
        return jax.vmap(objective, in_axes=(0, None, None, None))(positives, negatives, log_expected, params)
    correction = log_expected if objective is sampled_softmax else 0
    of_negatives = -negatives / params.temperature - correction
    some = jnp.any(jnp.isfinite(of_negatives))  # the logarithm of an empty sum has no finite gradient
    others = jnp.where(some, jax.nn.logsumexp(jnp.where(some, of_negatives, 0)), -jnp.inf)
    logits = -positives / params.temperature
    return jnp.logaddexp(logits, others) - logits


def _mean(values: jax.Array, negatives: jax.Array) -> jax.Array:
    """Return the mean over the negatives that count."""
    return jnp.sum(values) / jnp.maximum(jnp.sum(jnp.isfinite(negatives)), 1)


def _cross_entropy(positive: jax.Array, negatives: jax.Array) -> jax.Array:
    logits = jnp.concatenate([positive[None], negatives])
    return jax.nn.logsumexp(logits) - positive


def none(positive: jax.Array, negatives: jax.Array, log_expected: jax.Array, params: LossParams) -> jax.Array:
    """Return 0, for a model whose loss is only its penalty."""
    del positive, negatives, log_expected, params
    return jnp.zeros(())


OBJECTIVES: dict[str, Objective] = {
    objective.__name__: objective
    for objective in (hinge_hardest, hinge_mean, warp, bpr, info_nce, sampled_softmax, decoupled_contrastive, none)
}


def register_objective(objective: Objective, reads: Iterable[str] = ("margin", "temperature")) -> None:
    """Register your own loss for ``train.objective``, under the function's name.

    Args:
      objective: the loss.
      reads: which of ``margin`` and ``temperature`` it reads; setting another one is then an error.

    Raises:
      InputError: an objective of this package has that name.

    Example:
      >>> def squared_hinge(positive, negatives, log_expected, params):
      ...     return jax.nn.relu(params.margin + positive - negatives.min()) ** 2
      >>> hlr_jax.register_objective(squared_hinge, reads=["margin"])
      >>> hlr_jax.TrainOptions(objective="squared_hinge").objective
      'squared_hinge'
    """
    name = objective.__name__
    if name in OBJECTIVES and OBJECTIVES[name].__module__ == __name__:
        raise InputError(f'"{name}" is an objective of this package; register yours under another name')
    OBJECTIVES[name], READS[name] = objective, tuple(reads)
