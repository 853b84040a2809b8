"""Export a trained run: recommendations by JAX without hlr_jax, and vectors as safetensors and Parquet.

hlr-jax export --workdir=runs/hlr --output=exported/hlr [--k=20] [--seed=1] [--blend_seeds] [--dtype=bfloat16]
hlr-jax export --workdir=runs/hlr --output=exported/hlr --index=hnsw [--candidates=500] [--m=16] [--ef=200]

Needs the extra `export`, and for an index `ann`. The folder's answer.py shows how to use it: python
exported/hlr/answer.py USER, or --history ITEM ITEM for a new user. docs/guides/export.md describes the folder.
"""

import shlex

from absl import flags

from hlr_jax.cli.support.seeds import load_chosen
from hlr_jax.errors import InputError
from hlr_jax.serving.index import INDEXES, IndexOptions
from hlr_jax.settings import describe

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "folder to write; replaces an older export there", required=True)
_K = flags.DEFINE_integer("k", None, "maximum number of recommendations; the default is the run's")
_DTYPE = flags.DEFINE_enum("dtype", "float32", ("float32", "bfloat16"), "type of the stored parameters")
_INDEX = flags.DEFINE_enum("index", None, INDEXES, "index that finds candidates for the model to rank")
_OF_INDEX = {
    name: flags.DEFINE_integer(name, None, f"with --index: {meaning} ({allowed}; default {default})")
    for name, default, allowed, meaning in describe(IndexOptions)
    if name != "kind"
}


def main() -> None:
    """Run the command."""
    given = {name: flag.value for name, flag in _OF_INDEX.items() if flag.value is not None}
    if given and _INDEX.value is None:
        raise InputError(f"--{next(iter(given))} needs an index: pass --index=hnsw too")
    index = None if _INDEX.value is None else IndexOptions(_INDEX.value, **given)
    recommender = load_chosen(_WORKDIR.value)
    folder = recommender.export(_OUTPUT.value, k=_K.value, dtype=_DTYPE.value, index=index)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        print(f"{path.stat().st_size:>12,} bytes  {path}")
    print(f"try it: {shlex.join(['python', str(folder / 'answer.py'), str(recommender.dataset.user_ids[0])])}")
