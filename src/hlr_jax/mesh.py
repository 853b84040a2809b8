"""The number of devices of a run."""

from dataclasses import dataclass
from typing import ClassVar

from hlr_jax.settings import Settings, number


@dataclass(frozen=True)
class MeshOptions(Settings):
    """The devices of a run, for ``sharding.create_mesh``.

    Attributes:
      data: number of device groups; each batch is divided among them.
      model: number of devices per group; the rows of the tables are divided among them.
    """

    section: ClassVar[str] = "mesh"

    data: int = number(1, 1, 10**6)
    model: int = number(1, 1, 10**6)
