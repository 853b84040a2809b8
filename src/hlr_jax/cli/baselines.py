"""Fit Popularity, ItemKNN, EASE and MF-ALS to data sets, as baselines for trained models.

hlr-jax baselines --data=ml-100k,lastfm=$SPLITS/lastfm.parquet --workdir=runs/baselines
hlr-jax baselines --data=own=log.csv --split=time
hlr-jax baselines --systems=mf_als --als_confidence=3,10,30 --als_regularization=10,30,100,300
hlr-jax baselines --train_splits=train+valid

Each system has a workdir, WORKDIR/DATA/SYSTEM, that recommend, evaluate, compare, report and table2 read. Rerunning a
stopped command resumes it.

Validation NDCG chooses the settings of ItemKNN and EASE, and the confidence, lambda and epoch of MF-ALS. Test is
measured once. MF-ALS is tuned as by Rendle et al. 2022: lambda grows with a row's weight (exponent 1). Lambda and the
weight of observed pairs are searched in WORKDIR/DATA/mf_als-search. Its recommendations leave out validation items like
those of all systems, also under a protocol that keeps them.

With --train_splits=train+valid the chosen settings are fitted again to both before test, in
WORKDIR/DATA/SYSTEM-refit.
"""

import math
from pathlib import Path
from typing import Any

from absl import flags

from hlr_jax.cli.support.data_sets import data_sets_of
from hlr_jax.configs.baselines import SYSTEMS
from hlr_jax.data.dataset import TRAIN_SPLITS
from hlr_jax.data.splits import SPLIT_KINDS
from hlr_jax.errors import InputError, pick
from hlr_jax.scorers.ease import Ease
from hlr_jax.scorers.registry import SCORERS

_DATA = flags.DEFINE_list("data", ["ml-100k"], "data sets of the registry, or NAME=FILE")
_SPLIT = flags.DEFINE_enum("split", "given", SPLIT_KINDS, "how a FILE is divided; given: by its column split")
_WORKDIR = flags.DEFINE_string("workdir", "runs/baselines", "folder of the runs")
_SYSTEMS = flags.DEFINE_list("systems", list(SCORERS), f"systems to fit, of {', '.join(SYSTEMS)}")
_EASE_GRID = flags.DEFINE_list(
    "ease_regularization", [f"{value:g}" for value in Ease().regularization], "EASE: values of lambda"
)
_CONFIDENCE = flags.DEFINE_list("als_confidence", ["3", "10", "30", "100"], "MF-ALS: weights of an observed pair")
_REGULARIZATION = flags.DEFINE_list("als_regularization", ["10", "30", "100", "300"], "MF-ALS: values of lambda")
_DIM = flags.DEFINE_integer("als_dim", 128, "MF-ALS: D", lower_bound=1)
_EPOCHS = flags.DEFINE_integer(
    "als_epochs", 16, "MF-ALS: maximum of iterations; stops after 4 without improvement", lower_bound=1
)
_TRAIN_ON = flags.DEFINE_enum("train_splits", "train", TRAIN_SPLITS[:2], "splits to fit before test")
_K = flags.DEFINE_integer("k", 10, "number of recommendations K", lower_bound=1)


def main() -> None:
    """Run the command."""
    searched = (("confidence", _CONFIDENCE), ("regularization", _REGULARIZATION))
    space: dict[str, Any] = {f"model.{name}": _numbers(flag) for name, flag in searched}
    options: dict[str, dict[str, Any]] = {"ease": {"regularization": _numbers(_EASE_GRID)}}
    options |= {"mf_als": {"embed_dim": _DIM.value}}
    systems = [pick(name, SYSTEMS, "system of --systems:") for name in _SYSTEMS.value]
    if not systems:
        raise InputError(f"--systems names none; there are {', '.join(SYSTEMS)}")
    data_sets, folder = data_sets_of(_DATA.value), Path(_WORKDIR.value)
    from hlr_jax.baselines import baseline, chosen_settings, fit_baseline
    from hlr_jax.cli.support.tables import print_metrics
    from hlr_jax.folders import claim
    from hlr_jax.training.result import train_seconds

    with claim(folder, "runs"):
        for name, path in data_sets.items():
            shown = {}
            for system in systems:
                wanted = baseline(
                    system, name, path, split=_SPLIT.value, k=_K.value, options=options.get(system),
                    num_epochs=_EPOCHS.value, space=space,
                )  # fmt: skip
                place = folder / name / system
                place, result = fit_baseline(wanted, place, train_splits=_TRAIN_ON.value)
                chosen = ",".join(f"{value:g}" for value in chosen_settings(place, wanted.space))
                label = f"{system} ({chosen})" if chosen else system
                print(f"{name}, {label}: {train_seconds(place):.1f} s; everything is in {place}", flush=True)
                shown[label] = result.metrics
            print_metrics(shown)


def _numbers(flag: flags.FlagHolder[list[str]]) -> list[float]:
    try:
        numbers = [float(value) for value in flag.value]
    except ValueError:
        numbers = [math.nan]
    if not numbers or not all(map(math.isfinite, numbers)):
        raise InputError(f"--{flag.name} must be numbers, got {','.join(flag.value)}")
    if min(numbers) <= 0:
        raise InputError(f"--{flag.name} needs numbers above 0")
    return numbers
