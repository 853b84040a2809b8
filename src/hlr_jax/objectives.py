"""The objectives by name, and which settings each reads; ``losses`` has their maths."""

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
"""``margin``, ``temperature`` and ``confidence``, as far as an objective reads them."""
