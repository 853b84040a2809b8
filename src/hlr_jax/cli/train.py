"""Train a model, evaluate its best epoch, and show recommendations with reasons for three users.

hlr-jax train --config=hlr:ml-100k --workdir=runs/hlr [--config.train.margin=0.5]

Rerunning the command resumes it. --config.train.num_seeds=3 trains three seeds at once, starting at --config.seed, and
shows their means and standard deviations.

--config.mesh.data=4 --config.mesh.model=2 uses eight devices. They may be those of several processes that each run this
command with --distributed.

--config=auto:ml-100k finds a good system for the data. It fits EASE, ItemKNN and MF-ALS with settings that validation
chooses, CML that starts from the factors of MF-ALS, and their blend. --config.model.time_budget=60 begins no step after
60 seconds.

--tensorboard also writes event files, in WORKDIR/tensorboard; it needs the extra `tb`.
"""

from absl import flags

import hlr_jax
from hlr_jax.auto_options import is_auto
from hlr_jax.cli.support import configs
from hlr_jax.cli.support.launch import runs_of, show_devices
from hlr_jax.cli.support.lists import show_samples
from hlr_jax.cli.support.processes import connect_processes
from hlr_jax.cli.support.tables import chosen_by_validation, print_auto, print_metrics

_CONFIG = configs.define_config()
_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run", required=True)
_QUIET = flags.DEFINE_bool("quiet", False, "show no progress")
_TENSORBOARD = flags.DEFINE_bool("tensorboard", False, "write event files too, also for finished epochs")


def main() -> None:
    """Run the command."""
    from hlr_jax import distributed
    from hlr_jax.loading import LoadedRun
    from hlr_jax.recommender.recommender import Recommender
    from hlr_jax.training.tensorboard import TensorBoardLogger

    config = _CONFIG.value.to_dict()
    connect_processes()
    show_devices(runs_of(config), config.get("mesh"))
    loggers = [TensorBoardLogger(_WORKDIR.value)] if _TENSORBOARD.value else []
    if is_auto(config):
        from hlr_jax.auto.run import run_auto

        found = run_auto(config, _WORKDIR.value, loggers=loggers, quiet=_QUIET.value)
        print_auto(found)
        print(f"everything is in {_WORKDIR.value}\n")
        show_samples(Recommender(found.blend, found.settings, found.metrics))
        return
    done = hlr_jax.run(config, _WORKDIR.value, loggers=loggers, quiet=_QUIET.value)
    if not distributed.is_process_zero():
        return
    name = done.parts.model.name
    print_metrics({f"{name}, {split}": metrics for split, metrics in done.metrics.items()})
    print(f"{chosen_by_validation(done)}; everything is in {_WORKDIR.value}\n")
    if done.parts.mesh is None:
        show_samples(Recommender(LoadedRun.of(done), config, done.metrics))
