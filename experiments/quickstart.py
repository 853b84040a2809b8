"""Find a good system for MovieLens-100K, HLR included, and show its recommendations.

python experiments/quickstart.py --workdir=runs/auto

EASE and MF-ALS are solved for, CML and HLR start from the factors of MF-ALS, and validation chooses the weights of
their blend. Rerunning a stopped command resumes it.
"""

import time
from pathlib import Path

from absl import flags

from hlr_jax.auto.run import run_auto
from hlr_jax.auto_options import PARTS
from hlr_jax.cli.support.launch import launch, show_devices
from hlr_jax.cli.support.lists import show_samples
from hlr_jax.cli.support.tables import print_auto
from hlr_jax.configs.recipes import get_config
from hlr_jax.recommender.recommender import Recommender

_WORKDIR = flags.DEFINE_string("workdir", "runs/auto", "folder of the run")
_DATA = flags.DEFINE_string("data", "ml-100k", "a data set of the registry, or a synthetic one (planted)")


def main() -> None:
    """Run the command."""
    start, folder = time.perf_counter(), Path(_WORKDIR.value)
    config = get_config(f"auto:{_DATA.value}").to_dict()
    config["model"]["parts"] = PARTS
    show_devices(1)
    found = run_auto(config, folder, quiet=True)
    dataset, test = found.blend.parts.dataset, found.metrics["test"]
    print()
    print_auto(found)
    print(f"Test items of {test.users} users, all {dataset.num_items} items ranked, seen ones left out;")
    print(f"protocol {dataset.protocol.name}; all settings and weights chosen on validation.\n")
    print("Next steps:")
    for line in (
        f"recommend --workdir={folder} --users=1,2,3 --explain",
        f"compare --workdir={folder},{folder}/parts/hlr",
        "train --config=auto:file --workdir=runs/own --config.dataset.path=YOUR.csv",
    ):
        print(f"  .venv/bin/hlr-jax {line}")
    print(f"{time.perf_counter() - start:.0f} s in total; everything is in {folder}\n")
    print("Recommendations with reasons (and their share of everything that raises the score):")
    show_samples(Recommender(found.blend, found.settings, found.metrics))


if __name__ == "__main__":
    launch(main)
