"""Float64 NumPy oracles, written from the papers' equations with explicit loops and explicit relations."""

import numpy as np


def softmax(x):
    e = np.exp(x - np.max(x))
    return e / e.sum()


def cml(params, user, item, history, item_users):
    p, q = params["user"][user], params["item"][item]
    return -np.sum((p - q) ** 2), np.zeros_like(p)


def cml_history(params, user, item, history, item_users):
    """FISM's users (Kabbur et al. 2013) as points: the mean of the source vectors of their items."""
    rows = [params["source"][j] for j in history]
    p = np.mean(rows, axis=0) if rows else np.zeros_like(params["item"][item])
    return -np.sum((p - params["item"][item]) ** 2), np.zeros_like(p)


def scales_of(params, key_scale, attention_scale):
    """What multiplies the logits of both softmaxes: as learned, or as given."""
    return np.exp(params["scales"]) if "scales" in params else (key_scale, attention_scale)


def hlr(params, user, item, history, item_users, *, own_vector=False, key_scale=1.0, attention_scale=1.0):
    """Eq. 2-7; ``own_vector``: the user joins the neighbors, as in the released code."""
    p, q = params["user"][user], params["item"][item]
    by_key, by_neighbor = scales_of(params, key_scale, attention_scale)
    neighbors = [params["item"][j] for j in history] + ([p] if own_vector else [])
    if not neighbors:
        return -np.sum((p - q) ** 2), np.zeros_like(p)
    relations = []
    for q_j in neighbors:
        joint = q * q_j
        attention = softmax(by_key * np.array([joint @ key for key in params["keys"]]))
        relations.append(sum(a * memory for a, memory in zip(attention, params["memories"], strict=True)))
    alpha = softmax(by_neighbor * np.array([p @ r for r in relations]))
    relation = sum(a * r for a, r in zip(alpha, relations, strict=True))
    return -np.sum((p + relation - q) ** 2), relation


def lrml(params, user, item, history, item_users, *, key_scale=1.0):
    """Tay et al. 2018, section 3.3."""
    p, q = params["user"][user], params["item"][item]
    weights = softmax(key_scale * np.array([(p * q) @ key for key in params["keys"]]))
    relation = sum(w * memory for w, memory in zip(weights, params["memories"], strict=True))
    return -np.sum((p + relation - q) ** 2), relation


def adacml(params, user, item, history, item_users):
    """Zhang et al. 2019: the user moves by the history items that the candidate resembles."""
    p, q = params["user"][user], params["item"][item]
    relation = np.zeros_like(p)
    if history:
        rows = [params["item"][j] for j in history]
        weights = softmax(np.array([q @ row for row in rows]))
        relation = sum(w * row for w, row in zip(weights, rows, strict=True))
    return -np.sum((p + relation - q) ** 2), relation


def hlrpp_reference(params, user, item, history, item_users, *, key_scale=1.0, attention_scale=1.0):
    """The released HLR++: the user attention without the user's vector, the item attention over history + candidate."""
    p, q = params["user"][user], params["item"][item]
    by_key, by_neighbor = scales_of(params, key_scale, attention_scale)

    def latent(joint):
        attention = softmax(by_key * np.array([joint @ key for key in params["keys"]]))
        return sum(a * memory for a, memory in zip(attention, params["memories"], strict=True))

    def attend(anchor, relations):
        weights = softmax(by_neighbor * np.array([anchor @ r for r in relations]))
        return sum(w * r for w, r in zip(weights, relations, strict=True))

    rows = [params["item"][j] for j in history]
    by_user = attend(p, [latent(q * row) for row in rows]) if rows else np.zeros_like(p)
    by_item = attend(q, [latent(p * row) for row in [*rows, q]])
    return -np.sum((p + by_user + by_item - q) ** 2), by_user + by_item


def transcf(params, user, item, history, item_users):
    """Park et al. 2018: the mean of the user's items times the mean of the item's users."""
    p, q = params["user"][user], params["item"][item]
    mean_item = np.mean([params["item"][j] for j in history], axis=0) if history else np.zeros_like(p)
    mean_user = np.mean([params["user"][w] for w in item_users], axis=0) if item_users else np.zeros_like(p)
    relation = mean_item * mean_user
    return -np.sum((p + relation - q) ** 2), relation


def hlrpp_paper(params, user, item, history, item_users, *, key_scale=1.0, attention_scale=1.0):
    """Section 3.3: the item attention runs over the item's users, addressed by p_u * p_w and weighed by q_v."""
    p, q = params["user"][user], params["item"][item]
    scales = {"key_scale": key_scale, "attention_scale": attention_scale}
    _, by_user = hlr(params, user, item, history, item_users, **scales)
    by_item = np.zeros_like(p)
    if item_users:
        relations = []
        for w in item_users:
            attention = softmax(key_scale * np.array([(p * params["user"][w]) @ key for key in params["keys"]]))
            relations.append(sum(a * memory for a, memory in zip(attention, params["memories"], strict=True)))
        beta = softmax(attention_scale * np.array([q @ r for r in relations]))
        by_item = sum(b * r for b, r in zip(beta, relations, strict=True))
    return -np.sum((p + by_user + by_item - q) ** 2), by_user + by_item


def mf_als(params, user, item, history, item_users):
    """Hu et al. 2008: a dot product."""
    p, q = params["user"][user], params["item"][item]
    return np.dot(p, q), np.zeros_like(p)


def als_regularization(matrix, confidence, regularization, exponent):
    """Rendle et al. 2022: by the weight of all pairs of a row, over the mean row's."""
    weights = np.array([sum(confidence if x else 1 for x in row) for row in matrix], np.float64)
    return regularization * (weights / weights.mean()) ** exponent


def als_side(matrix, other, confidence, regularization, exponent):
    """Hu et al. 2008, eq. 4, for every row of the 0/1 matrix: (Y^T C Y + lambda) p = Y^T C x."""
    strength = als_regularization(matrix, confidence, regularization, exponent)
    rows = []
    for x, row_strength in zip(matrix, strength, strict=True):
        weights = np.diag(np.where(x > 0, confidence, 1.0))
        system = other.T @ weights @ other + row_strength * np.eye(other.shape[1])
        rows.append(np.linalg.solve(system, other.T @ weights @ x))
    return np.array(rows)


def als_objective(matrix, user, item, confidence, regularization, exponent):
    """Hu et al. 2008, eq. 3, over the full matrix."""
    total = np.sum(np.where(matrix > 0, confidence, 1.0) * (matrix - user @ item.T) ** 2)
    for rows, table in ((matrix, user), (matrix.T, item)):
        strength = als_regularization(rows, confidence, regularization, exponent)
        total += np.sum(strength * np.sum(table**2, axis=1))
    return total


def float64(params):
    return {name: np.asarray(value, np.float64) for name, value in params.items()}
