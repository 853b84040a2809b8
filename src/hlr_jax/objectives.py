"""The objectives by name, and the settings that each one reads; ``losses`` has their equations."""

READS: dict[str, tuple[str, ...]] = {
    "hinge_hardest": ("margin",),
    "hinge_mean": ("margin",),
    "warp": ("margin",),
    "bpr": ("temperature",),
    "info_nce": ("temperature",),
    "sampled_softmax": ("temperature",),
    "decoupled_contrastive": ("temperature",),
    "none": (),
    "square": ("confidence",),
}
"""Objective -> which of ``margin``, ``temperature`` and ``confidence`` it reads."""
