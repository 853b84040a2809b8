"""The main job: find the best system for MovieLens-100K, with HLR among the candidates, and recommend.

python experiments/quickstart.py --workdir=runs/auto

EASE, ItemKNN and MF-ALS have closed-form solutions or solvers. CML and HLR start from the factors of MF-ALS. Validation
chooses the weights of their blend. Rerunning resumes a stopped run.
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
_DATA = flags.DEFINE_string("data", "ml-100k", "a data set of the registry, or planted")


def main() -> None:
    """Run the command."""
    start, folder = time.perf_counter(), Path(_WORKDIR.value)
    config = get_config(f"auto:{_DATA.value}").to_dict()
    config["model"]["parts"] = PARTS
    show_devices(1)
    found = run_auto(config, folder, quiet=True)
    dataset = found.blend.parts.dataset
    print()
    print_auto(found)
    print("Each list ranks all items that the user has no interaction with.")
    print(f"Protocol {dataset.protocol.name}; validation chose all settings and weights.\n")
    print("Next commands:")
    for line in (
        f"recommend --workdir={folder} --users=1,2,3 --explain",
        f"compare --workdir={folder},{folder}/parts/hlr",
        "train --config=auto:file --workdir=runs/own --config.dataset.path=YOUR.csv",
    ):
        print(f"  .venv/bin/hlr-jax {line}")
    print(f"Took {time.perf_counter() - start:.0f} s; everything is in {folder}\n")
    print("Recommendations with reasons (each with its share of all that raises the score):")
    show_samples(Recommender(found.blend, found.settings, found.metrics))


if __name__ == "__main__":
    launch(main)
