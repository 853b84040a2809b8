"""Blend runs: one recommender that ranks by the weighted standardized scores of several.

hlr-jax blend --workdirs=runs/ease,runs/mf_als,runs/cml --workdir=runs/blend
hlr-jax blend --workdirs=runs/ease,runs/cml --workdir=runs/blend --weights=ease:0.2,cml:0.8

Validation chooses the weights, and leaves out parts that add no more than noise. --weights sets them instead. A part is
named after its folder. The new workdir contains a copy of each part, needs nothing else, and works with every command.
All runs must have the same data set and split. A run with several seeds contributes its first one. To blend all seeds
of one run, pass --blend_seeds to the command that uses the run.
"""

from pathlib import Path

from absl import flags

from hlr_jax.errors import InputError

_PARTS = flags.DEFINE_list("workdirs", None, "folders of the runs", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the blend; replaces an older blend there", required=True)
_WEIGHTS = flags.DEFINE_list("weights", None, "NAME:WEIGHT for each run; without it, validation chooses the weights")


def main() -> None:
    """Run the command."""
    folders = [Path(folder) for folder in _PARTS.value]
    names = [folder.resolve().name for folder in folders]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"--workdirs has two folders called {name}: parts are named after their folders; rename one"
            )
    weights = None if _WEIGHTS.value is None else dict(map(_weight, _WEIGHTS.value))
    from hlr_jax.blends.workdir import blend_runs
    from hlr_jax.cli.support.tables import print_metrics

    done = blend_runs(dict(zip(names, folders, strict=True)), _WORKDIR.value, weights)
    metrics = done.result.metrics
    if metrics:
        print_metrics({f"blend, {split}": of_split for split, of_split in metrics.items()})
    print(f"{done.result.parts.model.title}; everything is in {_WORKDIR.value}")


def _weight(entry: str) -> tuple[str, float]:
    name, _, weight = entry.rpartition(":")
    try:
        return name, float(weight)
    except ValueError:
        raise InputError(f"--weights: {entry!r} is not NAME:WEIGHT, such as ease:0.2") from None
