"""Export a trained run: a top-K function that jax runs without hlr_jax, and its vectors as safetensors and Parquet.

hlr-jax export --workdir=runs/hlr --output=exported/hlr [--k=20] [--seed=1] [--ensemble=3] \\
    [--dtype=bfloat16]

Needs the extra `export`. The folder's answer.py shows how to use it: python exported/hlr/answer.py USER.
"""

from absl import flags

import hlr_jax
from hlr_jax.cli.support.seeds import ENSEMBLE, load_chosen

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "folder to write; an older export there is replaced", required=True)
_K = flags.DEFINE_integer("k", None, "length of the lists; the run's, if not given")
_DTYPE = flags.DEFINE_enum("dtype", "float32", ("float32", "bfloat16"), "what parameters are stored as")


def main() -> None:
    """Run the command."""
    run, place = load_chosen(_WORKDIR.value)
    parts, seed = run.parts, run.seeds[place]
    from hlr_jax.systems import require_model

    folder = hlr_jax.export_model(
        require_model(parts.model, "export"), run.params[place], parts.dataset, _OUTPUT.value,
        k=parts.eval.ks[0] if _K.value is None else _K.value, seed=seed, dtype=_DTYPE.value,
        about={"run": {"seed": seed, "ensemble": ENSEMBLE.value, "best_epoch": run.best_epochs[place]}},
    )  # fmt: skip
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size:>12,} bytes  {path}")
    print(f"try it: python {folder / 'answer.py'} {parts.dataset.user_ids[0]}")
