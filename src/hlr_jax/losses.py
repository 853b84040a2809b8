"""Objectives: the loss of one positive against n negatives, as a function of distances alone.

A negative that must not count, such as one that is an item of the user, stands at an infinite distance: it costs
nothing, and has no gradient.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from hlr_jax.errors import InputError
from hlr_jax.objectives import READS


class LossParams(NamedTuple):
    """What objectives measure distances with: ``margin`` [] of the hinges, ``temperature`` [] of the others."""

    margin: jax.Array
    temperature: jax.Array


Objective = Callable[[jax.Array, jax.Array, jax.Array, LossParams], jax.Array]
"""(positive distance [], negative distances [n], log expected counts [n], parameters) -> loss [].

The expected count of a negative is n q_v, where q_v is the probability that a draw gives the item v: 1 / (n q_v) is how
many of the user's unknown items it stands for.
"""


def hinge_hardest(positive: jax.Array, negatives: jax.Array, log_expected: jax.Array, params: LossParams) -> jax.Array:
    """Return [margin + d(u, v) - min d(u, v-)]_+ : eq. 8 of Tran et al. (2021) with the hardest of the n negatives.

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

    The rank of the positive is estimated by the impostors among the negatives, those nearer than the margin allows,
    each for as many items as it stands for. It has no gradient. With few negatives the estimate is coarse; with many
    in a small catalogue the hardest is often an item that the user would like, and the lists are lost
    (docs/results/findings.md).
    """
    violations = jax.nn.relu(params.margin + positive - negatives)
    rank = jnp.sum(jnp.where(violations > 0, jnp.exp(-log_expected), 0))
    return jax.lax.stop_gradient(jnp.log1p(rank)) * violations.max()


def bpr(positive: jax.Array, negatives: jax.Array, log_expected: jax.Array, params: LossParams) -> jax.Array:
    """Return the mean over the n negatives of log(1 + exp((d(u, v) - d(u, v-)) / t)) (Rendle et al. 2009).

    It never ends: pairs that are in order go on pushing, so rows drift to the border of the ball.
    """
    del log_expected
    return _mean(jax.nn.softplus((positive - negatives) / params.temperature), negatives)


def info_nce(positive: jax.Array, negatives: jax.Array, log_expected: jax.Array, params: LossParams) -> jax.Array:
    """Return -log of the softmax over the positive and the n negatives of -d / t (van den Oord et al. 2018, eq. 4).

    Its optimum depends on what negatives are drawn from: popular negatives push popular items away.
    """
    del log_expected
    return _cross_entropy(-positive / params.temperature, -negatives / params.temperature)


def sampled_softmax(
    positive: jax.Array, negatives: jax.Array, log_expected: jax.Array, params: LossParams
) -> jax.Array:
    """Return an estimate of -log of the softmax of -d / t over the positive and all unknown items of the user.

    Each negative counts for as many items as it stands for: -d / t - log(n q_v) (Bengio and Senecal 2008; Yi et al.
    2019). The positive is always there, so it needs no correction. Unbiased in the sum, not in its logarithm.
    """
    return _cross_entropy(-positive / params.temperature, -negatives / params.temperature - log_expected)


def decoupled_contrastive(
    positive: jax.Array, negatives: jax.Array, log_expected: jax.Array, params: LossParams
) -> jax.Array:
    """Return d(u, v) / t + log of the sum over negatives of exp(-d(u, v-) / t) (Yeh et al. 2022, eq. 5).

    ``info_nce`` without the positive in the sum, so that the gradient does not fade for a positive that is near
    already. It has no lower bound.
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

    The softmaxes share the sum over the negatives, which then costs n exponentials and not P n.
    """
    if objective not in (sampled_softmax, info_nce):
        return jax.vmap(objective, in_axes=(0, None, None, None))(positives, negatives, log_expected, params)
    correction = log_expected if objective is sampled_softmax else 0
    of_negatives = -negatives / params.temperature - correction
    some = jnp.any(jnp.isfinite(of_negatives))  # without any, a sum of nothing has no gradient
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
    """Return 0: for a model whose loss is its penalty alone."""
    del positive, negatives, log_expected, params
    return jnp.zeros(())


OBJECTIVES: dict[str, Objective] = {
    objective.__name__: objective
    for objective in (hinge_hardest, hinge_mean, warp, bpr, info_nce, sampled_softmax, decoupled_contrastive, none)
}


def register_objective(objective: Objective, reads: Iterable[str] = ("margin", "temperature")) -> None:
    """Make ``train.objective`` take a loss of one's own, under the function's name.

    Args:
      objective: the loss.
      reads: which of ``margin`` and ``temperature`` it reads; a person who sets another one is told so.

    Raises:
      InputError: an objective of this package has the name.

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
