"""BPR of the package Cornac: a point every few epochs. It runs one thread per core, without a seed."""

import importlib
import warnings

import numpy as np
from quality.stopwatch import Curve, Stopwatch, cores, product, read_split

# It may be absent where types are checked.
data, models = (importlib.import_module(f"cornac.{name}") for name in ("data", "models"))


def main(
    watch: Stopwatch, path: str, factors: int, rate: float, regularization: float, epochs: int = 100, every: int = 5
) -> None:
    """Train, and evaluate every few epochs."""
    split = read_split(path)
    (users, items), curve = split.train.nonzero(), Curve(watch, split)
    ids = [{index: index for index in range(size)} for size in split.train.shape]
    train = data.Dataset(*split.train.shape, *ids, (users, items, np.ones(len(users), np.float32)))
    model = models.BPR(
        k=factors, max_iter=every, learning_rate=rate, lambda_reg=regularization, use_bias=True, num_threads=cores()
    )
    for _ in range(0, epochs, every):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns that it continues from its factors, as intended
            model.fit(train)
        curve.point(product(model.u_factors, model.i_factors, model.i_biases))
