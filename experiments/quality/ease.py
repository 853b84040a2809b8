"""EASE in SciPy, float32: the inverse by LAPACK's potrf and potri, one lambda, one point."""

import numpy as np
from quality.stopwatch import Curve, Stopwatch, read_split
from scipy.linalg.lapack import spotrf, spotri


def main(watch: Stopwatch, path: str, regularization: float) -> None:
    """Solve, and evaluate; histories at test include validation items."""
    split = read_split(path)
    gram = np.asfortranarray((split.train.T @ split.train).toarray())
    gram[np.diag_indices_from(gram)] += regularization
    factor, failed = spotrf(gram, overwrite_a=True)
    inverse, singular = spotri(factor, overwrite_c=True)
    if failed or singular:
        raise SystemExit(f"regularization={regularization:g}: the matrix is not positive definite; use a larger value")
    inverse = np.triu(inverse) + np.triu(inverse, 1).T
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    known = {part: split.known(part) for part in ("valid", "test")}
    Curve(watch, split).point(lambda users, part: known[part][users] @ weights)
