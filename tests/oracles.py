"""Float64 NumPy oracles, written from the papers' equations with explicit loops and explicit relations."""

import numpy as np


def softmax(x):
    e = np.exp(x - np.max(x))
    return e / e.sum()


def cml(params, user, item, history):
    p, q = params["user"][user], params["item"][item]
    return -np.sum((p - q) ** 2), np.zeros_like(p)


def hlr(params, user, item, history, *, own_vector=False):
    """Eq. 2-7; ``own_vector``: the user joins the neighbors, as in the released code."""
    p, q = params["user"][user], params["item"][item]
    neighbors = [params["item"][j] for j in history] + ([p] if own_vector else [])
    if not neighbors:
        return -np.sum((p - q) ** 2), np.zeros_like(p)
    relations = []
    for q_j in neighbors:
        joint = q * q_j
        attention = softmax(np.array([joint @ key for key in params["keys"]]))
        relations.append(sum(a * memory for a, memory in zip(attention, params["memories"], strict=True)))
    alpha = softmax(np.array([p @ r for r in relations]))
    relation = sum(a * r for a, r in zip(alpha, relations, strict=True))
    return -np.sum((p + relation - q) ** 2), relation


def float64(params):
    return {name: np.asarray(value, np.float64) for name, value in params.items()}
