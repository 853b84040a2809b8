"""The main job: train HLR and CML on MovieLens-100K, and show them beside Popularity and EASE.

python experiments/quickstart.py --workdir=runs/ml-100k

Both take the default recipe, whose temperature and epoch are chosen on validation. The same command goes on where a
stopped one was.
"""

import time
from pathlib import Path

from absl import flags
from rich.console import Console

import hlr_jax
from hlr_jax import Dataset, RunResult
from hlr_jax.cli.support.launch import launch, runs_of, show_devices
from hlr_jax.cli.support.tables import print_metrics
from hlr_jax.configs.recipes import get_config

_WORKDIR = flags.DEFINE_string("workdir", "runs/ml-100k", "folder of the runs")
_DATA = flags.DEFINE_string("data", "ml-100k", "a data set of the registry, or planted")


def main() -> None:
    """Run the command."""
    start, folder = time.perf_counter(), Path(_WORKDIR.value)
    configs = {name: get_config(f"{name}:{_DATA.value}").to_dict() for name in ("popularity", "ease", "cml", "hlr")}
    show_devices(runs_of(configs["hlr"]))
    done = {name: hlr_jax.run(config, folder / name) for name, config in configs.items()}
    dataset, ease = done["hlr"].parts.dataset, done["ease"]
    print()
    print_metrics({run.parts.model.title: run.metrics["test"] for run in done.values()})
    users, regularization = ease.metrics["test"].users, dict(ease.parts.model.options)["regularization"][0]
    print(f"Test items of {users} users, all {dataset.num_items} items ranked, seen ones left out;")
    print(f"protocol {dataset.protocol.name}; chosen on validation: EASE's lambda {regularization:g},", end=" ")
    print(f"{_chosen({name: done[name] for name in ('cml', 'hlr')})}.\n")
    show_recommendations(done["hlr"], dataset)
    print("\nGo on with:")
    for line in (
        f"evaluate --workdir={folder}/hlr --k=20 --num_cohorts=5",
        f"train --config=hlr:{_DATA.value} --workdir=runs/mine --config.model.num_memories=10",
        "train --config=hlr:file --workdir=runs/own --config.dataset.path=YOUR.csv",
    ):
        print(f"  .venv/bin/hlr-jax {line}")
    print(f"\n{time.perf_counter() - start:.0f} s in all; everything is in {folder}")


def _chosen(done: dict[str, RunResult]) -> str:
    return ", ".join(
        f"{name.upper()}'s epoch {run.fits[0].best_epoch} and temperature {run.fits[0].run.temperature:g}"
        for name, run in done.items()
    )


def show_recommendations(trained: RunResult, dataset: Dataset, count: int = 5) -> None:
    """Print recommendations for the user with the median number of interactions, with what drove each of them."""
    model, params, seed = trained.parts.model, trained.fits[0].params, trained.parts.seed
    degrees = trained.evaluations["test"][0].per_user.sort("relevant", "user")
    user = degrees["user"][len(degrees) // 2]
    best = hlr_jax.recommend(model, params, dataset, [user], k=count, seed=seed)
    reasons = hlr_jax.explain(model, params, dataset, user, best["item"].to_list(), seed=seed)
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"[bold]Recommendations for user {user}[/], and which of their items drove each:")
    for row in best.iter_rows(named=True):
        why = reasons.filter(reasons["item"] == row["item"])
        top = why.row(0, named=True)
        console.print(f"  {row['rank']}. [bold]{row['title']}[/]  (distance {(-row['score']) ** 0.5:.3f})")
        console.print(
            f"     because of {top['neighbor_title']}: weight {top['neighbor_weight']:.1%} of {len(why)} items, "
            f"through memory {top['memory']} ({top['memory_weight']:.0%})"
        )


if __name__ == "__main__":
    launch(main)
