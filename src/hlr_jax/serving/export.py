"""A trained model as a folder that needs no hlr_jax: a compiled top-K function, and its arrays as tables.

The program (StableHLO, by ``jax.export``) takes its arrays as arguments instead of holding them as constants: each
number stands on disk once, in a file that other programs read too, and XLA compiles a program of some kilobytes.
"""

import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from jax import export

from hlr_jax.data.csr import padded_row
from hlr_jax.data.dataset import Dataset
from hlr_jax.data.neighbor_sampling import NeighborIds, NeighborSources
from hlr_jax.errors import InputError, check_range, pick
from hlr_jax.files import atomic_folder, sha256, write_json
from hlr_jax.models.base import Model
from hlr_jax.ranking.inputs import ranking_inputs, ranking_item_users, ranking_neighbors
from hlr_jax.ranking.lists import NO_ITEM, best_unseen
from hlr_jax.scoring import score_catalogue, with_derived
from hlr_jax.serving.population import known_interactions
from hlr_jax.types import CSR, Params

FORMAT = "hlr_jax top-k, 1"
DTYPES = ("float32", "bfloat16")
PLATFORMS = ("cpu", "cuda", "tpu")
_TOGETHER = 64  # users that an accelerator ranks at once
_DRAWN_TOGETHER = 1024
_MEANINGS = {
    "user": "p_u, row by row as in users.parquet",
    "item": "q_v, row by row as in items.parquet",
    "history": "rows of `item` that each user is ranked with, -1 for none",
    "item_users": "rows of `user` that each item is ranked with, -1 for none",
    "seen_offsets": "the items that user u has met stand in seen_items[seen_offsets[u]:seen_offsets[u + 1]]",
    "seen_items": "rows of `item`, and one trailing 0",
}


def export_model(
    model: Model,
    params: Params,
    dataset: Dataset,
    folder: str | Path,
    *,
    k: int = 10,
    seed: int = 0,
    dtype: str = "float32",
    about: dict[str, Any] | None = None,
) -> Path:
    """Write a folder from which ``jax`` alone gives the lists of ``recommend``, with the same arguments.

    ``topk.stablehlo`` is a function of (parameters, interactions, users [b] int32) -> (items [b, K] int32, scores
    [b, K] float32), for any b from 1 on. Users and items are numbered as the rows of ``users.parquet`` and
    ``items.parquet``. Items that a user has met are left out; places for which no item is left, and all places of a
    number that is no user's, hold -1 and minus infinity. The first two arguments are the dicts of arrays in
    ``parameters.safetensors`` and ``interactions.safetensors``; histories are as drawn with ``seed``. ``answer.py``
    shows the use, ``manifest.json`` tells shapes and versions, and the Parquet files hold ids, titles and vectors.

    Args:
      model: scores the pairs.
      params: its parameters.
      dataset: gives ids, titles, histories and what the users have met (train and validation items).
      folder: where to; an older export there is replaced.
      k: K; lists are shorter than K only where I is.
      seed: of the draw of neighbors, as in ``recommend``.
      dtype: what the parameters are stored as, ``float32`` or ``bfloat16`` (half the bytes); the program computes in
        float32 either way, with the rounded values.
      about: further entries of the manifest.

    Returns:
      The folder.

    Raises:
      InputError: the folder holds something else, ``k`` or ``dtype`` is out of range, or the extra ``export`` is not
        installed.
    """
    check_range("export", k=(k, 1, 10**6))
    pick(dtype, DTYPES, "export.dtype")
    if any(importlib.util.find_spec(name) is None for name in ("flatbuffers", "safetensors")):
        raise InputError("export needs flatbuffers and safetensors; install the extra: pip install 'hlr_jax[export]'")
    folder = Path(folder)
    _check_free(folder)
    rows = {"user": dataset.num_users, "item": dataset.num_items}
    stored = {
        name: np.asarray(array[: rows[axis]] if (axis := model.axis_of(name)) in rows else array, jnp.dtype(dtype))
        for name, array in params.items()
    }
    parameters = {name: array.astype(np.float32) for name, array in stored.items()}
    interactions = interaction_arrays(model, parameters, dataset, seed)
    program = top_k_program(model, stored, interactions, min(k, dataset.num_items))
    with atomic_folder(folder) as temporary:
        (temporary / "topk.stablehlo").write_bytes(program.serialize())
        _write_arrays(temporary, stored, interactions, dataset)
        shutil.copyfile(Path(__file__).with_name("answer.py"), temporary / "answer.py")
        _write_manifest(temporary, program, model, dataset, seed, about or {})
        temporary.chmod(0o755)  # a temporary folder is its owner's alone
        old = temporary.with_name(temporary.name + ".old")
        if folder.exists():
            os.replace(folder, old)
    shutil.rmtree(old, ignore_errors=True)
    return folder


def _check_free(folder: Path) -> None:
    """Check that the folder is absent, empty or an older export."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; pass another folder for the export")
    try:
        ours = json.loads((folder / "manifest.json").read_text())["format"].startswith(FORMAT.partition(",")[0])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        ours = not any(folder.iterdir())
    if not ours:
        raise InputError(f"{folder} holds something that is no export; pass another folder or delete it")


def interaction_arrays(
    model: Model, parameters: dict[str, np.ndarray], dataset: Dataset, seed: int
) -> dict[str, np.ndarray]:
    """Return what a list depends on beside the parameters: neighbors as ``rank`` draws them, and items already met.

    Returns:
      ``history`` [U, H] and ``item_users`` [I, A], int32, -1 for none; ``seen_offsets`` [U + 1] and ``seen_items``
      int32; and what the model derives for all users and items.
    """
    known = known_interactions(dataset)
    inputs = ranking_inputs(model, known, known, (dataset.num_users, dataset.num_items), seed)

    @jax.jit
    def read_by_lists(params: Params, sources: NeighborSources) -> dict[str, jax.Array]:
        users, items = jnp.arange(dataset.num_users), jnp.arange(dataset.num_items)
        drawn = {
            "history": jax.lax.map(
                lambda user: ranking_neighbors(inputs.key, sources.history, user), users, batch_size=_DRAWN_TOGETHER
            ),
            "item_users": ranking_item_users(inputs.key, sources.item_users, items),
        }
        arrays = {name: jnp.where(neighbors.mask, neighbors.ids, NO_ITEM) for name, neighbors in drawn.items()}
        everything = with_derived(model, params, sources)
        return arrays | {name: array for name, array in everything.items() if name not in parameters}

    arrays = read_by_lists(jax.tree.map(jnp.asarray, parameters), inputs.sources)
    arrays |= {"seen_offsets": inputs.seen.offsets, "seen_items": inputs.seen.items}
    return {name: np.asarray(array) for name, array in arrays.items()}


def top_k_program(
    model: Model, parameters: dict[str, np.ndarray], interactions: dict[str, np.ndarray], k: int
) -> export.Exported:
    """Return the exported function of (parameters, interactions, users [b]), lowered for ``PLATFORMS``; K is at most I.

    It takes arrays of the shapes and types of ``parameters`` and of ``interactions``, those of ``interaction_arrays``.
    """
    num_users = len(parameters["user"])
    longest = int(np.diff(interactions["seen_offsets"]).max(initial=0))
    derived = [name for name in interactions if name not in _MEANINGS]

    def top_k(params: Params, near: dict[str, jax.Array], users: jax.Array) -> tuple[jax.Array, jax.Array]:
        params = {name: array.astype(jnp.float32) for name, array in params.items()}
        seen = CSR(near["seen_offsets"], near["seen_items"], longest)
        everything = params | {name: near[name] for name in derived}
        item_users = _neighbors(near["item_users"]).vectors(params["user"])

        def rank_user(user: jax.Array) -> tuple[jax.Array, jax.Array]:
            history = _neighbors(near["history"][user]).vectors(params["item"])
            rows = model.rows(everything, "user", user), model.on_axis(everything, "item")
            scores = score_catalogue(model, params, *rows, history, item_users)
            scores = jnp.where((user >= 0) & (user < num_users), scores, -jnp.inf)
            known, is_known = padded_row(seen, user, longest)
            best = best_unseen(scores, known, is_known, k)
            return best.items, best.scores  # in no type of this package's: any process may read it

        # As in `rank`: a CPU ranks one user after the other, each in cache, an accelerator many at once.
        return jax.lax.platform_dependent(
            users, cpu=lambda users: jax.lax.map(rank_user, users), default=lambda users: _in_tiles(rank_user, users)
        )

    given = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), (parameters, interactions))
    users = jax.ShapeDtypeStruct(export.symbolic_shape("b"), jnp.int32)
    return export.export(jax.jit(top_k), platforms=PLATFORMS)(*given, users)


def _neighbors(ids: jax.Array) -> NeighborIds:
    """Return ids with -1 for padding as ids and mask."""
    return NeighborIds(jnp.maximum(ids, 0), ids >= 0)


def _in_tiles(rank_user: Callable[..., Any], users: jax.Array) -> Any:
    """Return ``rank_user`` of all users [b], ``_TOGETHER`` at a time: ``lax.map(batch_size=...)`` needs b."""
    count = users.shape[0]
    tiles = (count + _TOGETHER - 1) // _TOGETHER
    padded = jnp.pad(users, (0, tiles * _TOGETHER - count)).reshape(tiles, _TOGETHER)
    lists = jax.lax.map(jax.vmap(rank_user), padded)
    return jax.tree.map(lambda array: array.reshape(tiles * _TOGETHER, -1)[:count], lists)


def _write_arrays(
    folder: Path, parameters: dict[str, np.ndarray], interactions: dict[str, np.ndarray], dataset: Dataset
) -> None:
    """Write the arrays that the program takes, and ids, titles and vectors as tables."""
    from safetensors.numpy import save_file

    def vectors(name: str) -> pl.Series:
        return pl.Series(parameters[name].astype(np.float32), dtype=pl.Array(pl.Float32, parameters[name].shape[1]))

    save_file(parameters, folder / "parameters.safetensors")
    save_file(interactions, folder / "interactions.safetensors")
    users = pl.DataFrame({"id": dataset.user_ids, "vector": vectors("user")})
    users.write_parquet(folder / "users.parquet")
    items = pl.DataFrame({"id": dataset.item_ids, "title": dataset.item_titles, "vector": vectors("item")})
    items.write_parquet(folder / "items.parquet")
    if "keys" in parameters:
        memories = pl.DataFrame({"key": vectors("keys"), "memory": vectors("memories")})
        memories.with_row_index("id").write_parquet(folder / "memories.parquet")


def _write_manifest(
    folder: Path, program: export.Exported, model: Model, dataset: Dataset, seed: int, about: dict[str, Any]
) -> None:
    """Write what a reader needs to know of the other files."""
    meanings = {spec.name: spec.meaning for spec in model.arrays} | _MEANINGS
    parameters, interactions, users = jax.tree.unflatten(program.in_tree, program.in_avals)[0]
    items, scores = program.out_avals
    manifest = {
        "format": FORMAT,
        "packages": {name: version(name) for name in ("hlr_jax", "jax", "jaxlib", "safetensors")},
        "model": {"name": model.name, **dict(model.options)},
        "data": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        **about,
        "seed_of_histories": seed,
        "program": {
            "file": "topk.stablehlo",
            "platforms": list(program.platforms),
            "calling_convention_version": program.calling_convention_version,
            "inputs": [
                {
                    "file": f"{file}.safetensors",
                    "arrays": {
                        name: _shape(array) | {"holds": meanings.get(name, "")} for name, array in given.items()
                    },
                }
                for file, given in (("parameters", parameters), ("interactions", interactions))
            ]
            + [{"users": _shape(users)}],
            "outputs": [{"items": _shape(items)}, {"scores": _shape(scores)}],
        },
        "files": {
            path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in sorted(folder.iterdir())
        },
    }
    write_json(folder / "manifest.json", manifest)


def _shape(array: Any) -> dict[str, Any]:
    shape = [size if isinstance(size, int) else str(size) for size in array.shape]
    return {"shape": shape, "dtype": str(array.dtype)}
