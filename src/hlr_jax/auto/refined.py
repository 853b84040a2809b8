"""The settings of parts with vectors: MF-ALS, and models trained from its factors."""

from hlr_jax.auto.search import Point
from hlr_jax.training.options import ALS

ITERATIONS = 10  # of MF-ALS, both as a part and as a start
_CML = {
    "batch": "users", "batch_size": 128, "negatives": "all", "num_negatives": 1, "objective": "sampled_softmax",
    "temperature": 0.2, "history_dropout": 0.3, "start_scale": 0.5, "learning_rate": 1.5e-3, "ema_decay": 0.8,
    "num_epochs": 30, "patience": 6,
}  # fmt: skip
_HLR = {
    "objective": "sampled_softmax", "temperature": 0.2, "num_negatives": 32, "learning_rate": 3e-4, "warmup": 1.0,
    "num_epochs": 3,
}  # fmt: skip


def solved_part(found: Point) -> Point:
    """Return the sections ``model`` and ``train`` of MF-ALS with the best settings."""
    model = {"name": "mf_als", "solver": "cg"} | found
    # Its lists leave out the same items as those of the other parts.
    return {"model": model, "train": {"num_epochs": ITERATIONS}, "eval": {"solver_mask": "train+valid"}}


def trained_parts(kinds: tuple[str, ...], found: Point) -> dict[str, Point]:
    """Return the sections ``model`` and ``train`` of each trained part, by label, in the order of training.

    Args:
      kinds: some of ``auto_options.PARTS``.
      found: the best settings of MF-ALS: ``embed_dim``, ``confidence`` and ``regularization``.
    """
    start = {
        "start": ALS, "start_confidence": found["confidence"], "start_regularization": found["regularization"],
        "start_iterations": ITERATIONS,
    }  # fmt: skip
    dim, parts = found["embed_dim"], dict[str, Point]()
    if "cml" in kinds:
        model = {"name": "cml", "user": "history", "embed_dim": dim}
        parts["cml"] = {"model": model, "train": start | _CML}
    if "hlr" in kinds:
        model = {"name": "hlr", "embed_dim": dim, "num_memories": 4, "max_history": 10, "memory_radius": 0.1}
        parts["hlr"] = {"model": model | {"user_radius": 0.0}, "train": start | _HLR}
    return parts
