"""Export a trained run: a top-K function that jax runs without hlr_jax, and its vectors as safetensors and Parquet.

python experiments/export.py --workdir=runs/hlr --output=exported/hlr [--k=20] [--seed=1] [--ensemble=3]

Needs the extra `export`. The folder's answer.py shows how to use it: python exported/hlr/answer.py USER.
"""

from absl import flags
from launch import launch

from hlr_jax import InputError, export_model, load_run

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "folder to write; an older export there is replaced", required=True)
_K = flags.DEFINE_integer("k", None, "length of the lists; the run's, if not given")
_SEED = flags.DEFINE_integer("seed", None, "which seed of a run of several; the first, if not given")

_ENSEMBLE = flags.DEFINE_integer("ensemble", 1, "seeds that are one model together; --seed is the first of them")


def main() -> None:
    """Run the command."""
    loaded = load_run(_WORKDIR.value, ensemble=_ENSEMBLE.value)
    parts = loaded.parts
    seeds = [run.seed for run in loaded.runs]
    seed = parts.seed if _SEED.value is None else _SEED.value
    if seed not in seeds:
        what = "has" if _ENSEMBLE.value == 1 else f"has ensembles of {_ENSEMBLE.value} seeds from"
        raise InputError(f"--seed is {seed}, but the run {what} {', '.join(map(str, seeds))}")
    index = seeds.index(seed)
    folder = export_model(
        parts.model, loaded.params[index], parts.dataset, _OUTPUT.value,
        k=parts.eval.k if _K.value is None else _K.value, seed=seed,
        about={"run": {"seed": seed, "ensemble": _ENSEMBLE.value, "best_epoch": loaded.best_epochs[index]}},
    )  # fmt: skip
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size:>12,} bytes  {path}")
    print(f"try it: python {folder / 'answer.py'} {parts.dataset.user_ids[0]}")


if __name__ == "__main__":
    launch(main)
