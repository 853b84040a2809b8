"""Evaluate a trained run again, optionally with other settings of the section `eval`.

hlr-jax evaluate --workdir=runs/hlr [--k=5,10,20] [--num_cohorts=5] [--mesh_data=4 --mesh_model=2]
hlr-jax evaluate --workdir=runs/hlr --blend_seeds
hlr-jax evaluate --workdir=runs/auto --reasons [--num_users=200]

With other settings the metrics are only printed; the files of the run keep the metrics of its own config.

--blend_seeds evaluates all seeds of a run as one blend with equal weights.

--reasons measures whether reasons are true instead: the drop of a score without the item that a reason names first.
The results are also in eval/reasons.json.

--strong_generalization=users trains two more models with the run's settings, in WORKDIR/strong_generalization. One
lacks a tenth of the users, who are then folded in by 80 % of their items. The other trains on these items. Both are
evaluated on the other items of these users. --strong_generalization=items does the same with a tenth of the items and
half of the users of each.

A run may be evaluated on other devices than it was trained on, and in several processes (--distributed).
"""

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

import hlr_jax
from hlr_jax import json_files
from hlr_jax.cli.support.meshes import mesh_options
from hlr_jax.cli.support.processes import connect_processes
from hlr_jax.cli.support.tables import print_metrics, print_reasons
from hlr_jax.errors import InputError

if TYPE_CHECKING:
    from hlr_jax import experiment
    from hlr_jax.loading import LoadedRun

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run", required=True)
_K = flags.DEFINE_list("k", None, "values of K, the first is the main one; the default is the run's")
_COHORTS = flags.DEFINE_integer(
    "num_cohorts", None, "number of disjoint random groups of users, for a standard deviation"
)
_BUDGET = flags.DEFINE_integer("memory_limit_mib", None, "memory for a tile of users, in MiB")
_BLEND = flags.DEFINE_bool("blend_seeds", False, "evaluate all seeds of the run as one blend with equal weights")
_REASONS = flags.DEFINE_bool("reasons", False, "measure the quality of reasons, of the first seed")
_USERS = flags.DEFINE_integer("num_users", 200, "with --reasons: number of users in the random sample", lower_bound=1)
_STRONG = flags.DEFINE_enum(
    "strong_generalization",
    None,
    ["users", "items"],
    "compare folded-in users, or items, with trained ones",
)
_HELD_OUT = flags.DEFINE_float("held_out", 0.1, "share of the users, or items, to hold out")
_GIVEN = flags.DEFINE_float(
    "given", None, "share of their interactions to fold in by; the default is 0.8 for users, 0.5 for items"
)


def main() -> None:
    """Run the command."""
    from hlr_jax.workdir import held_by_all, read_config

    for flag, reader in ((_USERS, _REASONS), (_HELD_OUT, _STRONG), (_GIVEN, _STRONG)):
        if flag.present and not reader.value:
            raise InputError(f"--{flag.name} needs --{reader.name}: pass that too, or leave it out")
    chosen = {"k": _lengths(), "num_cohorts": _COHORTS.value, "memory_limit_mib": _BUDGET.value}
    other = {name: value for name, value in chosen.items() if value is not None}
    connect_processes()
    written = None if other or _BLEND.value else Path(_WORKDIR.value)
    read_config(Path(_WORKDIR.value))  # raises if there is no run
    with held_by_all(written, kind=None):
        run = hlr_jax.load_run(_WORKDIR.value, eval_options=other, mesh=mesh_options(), blend_seeds=_BLEND.value)
        if _REASONS.value:
            _measure_reasons(run, written)
        elif _STRONG.value:
            if _BLEND.value:
                raise InputError("--strong_generalization trains single models: leave --blend_seeds out")
            _strong_generalization(run.parts, _STRONG.value)
        else:
            _measure(run, written)


def _measure(run: "LoadedRun", folder: Path | None) -> None:
    """Print the metrics of a run, and write them to ``folder`` if given."""
    from hlr_jax import distributed, experiment

    _, metrics = experiment.evaluate_run(run.parts, run.params, run.best_epochs, run.seeds, folder)
    if not metrics:
        raise InputError(
            f"{_WORKDIR.value}: its data has no interactions to evaluate on; it was trained on all of them"
        )
    if distributed.is_process_zero():
        print_metrics({f"{run.parts.model.name}, {split}": of_split for split, of_split in metrics.items()})


def _measure_reasons(run: "LoadedRun", folder: Path | None) -> None:
    """Print the quality of the reasons of a run's first seed, and write it to its workdir if given."""
    from hlr_jax.serving.reason_quality import measure_reasons, write_reasons

    model, dataset, k = run.parts.model, run.parts.dataset, run.parts.eval.ks[0]
    found = measure_reasons(model, run.params[0], dataset, num_users=_USERS.value, k=k, seed=run.seeds[0])
    if folder is not None:
        write_reasons(folder, found)
    print_reasons(model.title, found)


def _lengths() -> tuple[int, ...] | None:
    """Return the values of --k."""
    if _K.value is None:
        return None
    if not all(k.isdecimal() for k in _K.value):
        raise InputError(f"--k must be whole numbers, got {','.join(_K.value)}")
    return tuple(map(int, _K.value))


def _strong_generalization(parts: "experiment.RunParts", what: str) -> None:
    from hlr_jax.provenance import maker_of
    from hlr_jax.strong_generalization import compare_folded_in

    if parts.mesh is not None:
        raise InputError("--strong_generalization runs on one device: leave --mesh_data and --mesh_model out")
    folder = Path(_WORKDIR.value)
    metrics = compare_folded_in(
        parts, folder / "strong_generalization", what=what, held_out=_HELD_OUT.value, given=_GIVEN.value
    )
    record = {"made_by": maker_of(folder)} | {name: measured.to_json() for name, measured in metrics.items()}
    name = "strong_generalization" if what == "users" else "strong_generalization_items"
    json_files.write_json(folder / "eval" / f"{name}.json", record)
    print_metrics(metrics)
    folded_in, trained_in = (metrics[name].value("ndcg") for name in ("folded in", "trained in"))
    ratio = f"{folded_in / trained_in:.1%} of" if trained_in else "no value (no hits) relative to"
    print(f"ndcg@{parts.eval.ks[0]} with {what} folded in: {ratio} the result with them trained in")
