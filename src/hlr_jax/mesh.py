"""Over how many devices a run is divided."""

from dataclasses import dataclass
from typing import ClassVar

from hlr_jax.settings import Settings, number


@dataclass(frozen=True)
class MeshOptions(Settings):
    """The devices of a run; ``sharding.create_mesh`` takes these.

    Attributes:
      data: groups of devices that divide each batch.
      model: devices of a group, which divide the rows of the tables.
    """

    section: ClassVar[str] = "mesh"

    data: int = number(1, 1, 10**6)
    model: int = number(1, 1, 10**6)
