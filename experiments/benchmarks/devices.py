"""Several devices: epochs on meshes of one to eight, in turn."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
from benchmarks.measuring import ratio, time_in_turn
from benchmarks.settings import Settings, create_model, train_options
from benchmarks.training import epochs

import hlr_jax
from hlr_jax import sharding
from hlr_jax.training import many_runs

MOST = 8
MESHES = ((1, 1), (2, 1), (1, 2), (2, 2), (4, 2), (8, 1), (1, 8))
DATA = "planted-1000x1000x10000"


def caveat() -> str:
    """Return a note on the limits of the times on this machine; empty for real devices."""
    if jax.default_backend() != "cpu":
        return ""
    cores = sharding.available_cores()
    return f"virtual devices on {cores} core(s): this shows the cost of dividing the work, not a speed-up"


def bench_devices(
    settings: Settings, name: str, source: str = DATA, meshes: Sequence[tuple[int, int]] = MESHES
) -> Iterator[dict[str, Any]]:
    """Time an epoch on each mesh of data x model devices that the available devices allow, compared with one device.

    ``data`` cuts the batch, ``model`` the rows of the tables. Unless told otherwise, B = 960, which all of them divide.
    """
    model = create_model(name, settings)
    if model.solver is not None:
        return
    dataset = hlr_jax.load_dataset(source, log=lambda _: None)
    options = train_options(settings, batch_size=settings.train.get("batch_size", 960))
    meshes = [(data, rows) for data, rows in meshes if data * rows <= jax.device_count()]
    works = {
        f"{data} x {rows}": epochs(
            many_runs.create_learner(dataset, model, options, options.runs([0]), sharding.create_mesh(data, rows))
        )
        for data, rows in meshes
    }
    timings = time_in_turn(works, settings.repeats, settings.seconds)
    for (data, rows), (label, timing) in zip(meshes, timings.items(), strict=True):
        against = {f"time_{key}_over_one": value for key, value in ratio(timing, timings["1 x 1"]).items()}
        yield {
            "what": "devices", "model": name, "mesh": label, "data": data, "rows": rows, "num_devices": data * rows,
            "positives_per_s": len(dataset.train) / timing.steady_s, **timing.fields(), **against,
            "caveat": caveat(),
        }  # fmt: skip
