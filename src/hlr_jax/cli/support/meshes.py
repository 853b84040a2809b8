"""Flags of commands that divide the work of a run among devices."""

from absl import flags

_DATA = flags.DEFINE_integer("mesh_data", 1, "groups of devices that divide the batches, or the users to rank for")
_MODEL = flags.DEFINE_integer("mesh_model", 1, "devices of a group, which divide the rows of the tables")


def mesh_options() -> dict[str, int]:
    """Return the section ``mesh`` that the flags set."""
    return {"data": _DATA.value, "model": _MODEL.value}
