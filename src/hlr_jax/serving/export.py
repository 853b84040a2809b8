"""A trained model as a folder that needs no hlr_jax: compiled functions that make lists, and their arrays as tables.

``docs/guides/export.md`` says what is in the folder and how to use it.
"""

import importlib.util
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from hlr_jax.array_files import write_arrays
from hlr_jax.blended_systems import Blend, Part
from hlr_jax.data.dataset import Dataset
from hlr_jax.errors import InputError, check_range, missing_extra, pick
from hlr_jax.files import sha256
from hlr_jax.folders import as_folder, replacing_folder
from hlr_jax.json_files import write_json
from hlr_jax.models.base import Model
from hlr_jax.parameters import check_params
from hlr_jax.ranking.population import parts_of
from hlr_jax.serving.index import IndexOptions, write_index
from hlr_jax.serving.new_rows import FoldInOptions
from hlr_jax.serving.newcomers import history_width, newcomers_program
from hlr_jax.serving.programs import Arrays, Program, interaction_arrays, list_programs, seen_arrays
from hlr_jax.serving.scorer_programs import MEANINGS as SCORER_MEANINGS
from hlr_jax.serving.scorer_programs import check_exportable, scorer_programs
from hlr_jax.sharding import unpadded
from hlr_jax.systems import System
from hlr_jax.training.options import TrainOptions
from hlr_jax.types import Params

FORMAT = "hlr_jax top-k, 3"
DTYPES = ("float32", "bfloat16")
PARTS = "parts"  # the folder with the parts of a blend
_MEANINGS = {
    "user": "p_u, row by row as in users.parquet",
    "item": "q_v, row by row as in items.parquet",
    "history": "rows of `item` that each user is ranked with, -1 for none",
    "item_users": "rows of `user` that each item is ranked with, -1 for none",
    "seen_offsets": "the items that user u has met stand in seen_items[seen_offsets[u]:seen_offsets[u + 1]]",
    "seen_items": "rows of `item`, and one trailing 0",
    "item_users.rows.offsets": "the users of item v stand in item_users.rows.items[offsets[v]:offsets[v + 1]]",
    "item_users.rows.items": "rows of `user`, and one trailing 0",
    "item_users.weights": "of users of an item, in its draws",
    "weights": "of items of a history, in its draws",
    "popularity.0": "shares of negatives, added up",
    "popularity.1": "logs of the shares of negatives",
}


class _Content(NamedTuple):
    """What an export is written from: programs by name, arrays by file, and what these hold."""

    programs: dict[str, Program]
    arrays: dict[str, Arrays]
    meanings: dict[str, str]


def export_model(
    model: System,
    params: Params,
    dataset: Dataset,
    folder: str | Path,
    *,
    k: int = 10,
    seed: int = 0,
    dtype: str = "float32",
    training: TrainOptions | None = None,
    fold_in: FoldInOptions | None = None,
    index: IndexOptions | None = None,
    about: dict[str, Any] | None = None,
) -> Path:
    """Write a folder from which ``jax`` alone gives the lists of ``recommend``, with the same arguments.

    ``topk.stablehlo`` makes lists of people, see ``programs.list_programs``. ``newcomers.stablehlo`` makes people from
    histories, as ``hlr_jax.fold_in`` does. ``answer.py`` shows the use with ids of the source, ``manifest.json`` tells
    shapes and versions, the safetensors files hold arrays, and the Parquet files ids, titles and vectors.

    Of a blend, each part is such a folder in ``parts``, with a program of all its scores, which ``answer.py`` blends.

    Args:
      model: scores the pairs; a model, a scorer of the package, or a blend of these.
      params: its parameters, or its state; of a blend, those of its parts by label.
      dataset: gives ids, titles, histories and what the users have met (train and validation items).
      folder: where to; an older export there is replaced.
      k: K; lists are shorter than K only where I is.
      seed: of the draw of neighbors, as in ``recommend``, and of ``fold_in``; the parts of a blend have their own.
      dtype: what the parameters are stored as, ``float32`` or ``bfloat16`` (half the bytes); the programs compute in
        float32 either way, with the rounded values.
      training: what ``params`` were trained with. None: the folder takes nobody new, unless the model is solved for,
        makes users from their items, or is a scorer; the parts of a blend have their own.
      fold_in: how p_u of somebody new is found; None: the defaults.
      index: of a model, what finds candidates, which it then ranks; None: lists look at every item.
      about: further entries of the manifest.

    Returns:
      The folder.

    Raises:
      InputError: the folder holds something else, ``k`` or ``dtype`` is out of range, the index gives fewer candidates
        than K, an index of a scorer or a blend, a scorer of one's own, or the extra ``export`` (with an index: ``ann``)
        is not installed.

    Example:
      >>> folder = hlr_jax.export_model(model, params, data, "exported", k=5)
      >>> sorted(path.name for path in folder.glob("*.parquet"))
      ['items.parquet', 'users.parquet']
    """
    check_range("export", k=(k, 1, 10**6))
    pick(dtype, DTYPES, "export.dtype")
    check_params(model, params, dataset.num_users, dataset.num_items)
    _require("export", "flatbuffers", "safetensors")
    folder, k = as_folder(folder), min(k, dataset.num_items)
    if index is not None:
        _check_index(index, model, k)
    about = {"k": k, "data": {"name": dataset.name, "fingerprint": dataset.fingerprint}, **(about or {})}
    with replacing_folder(folder, "export") as temporary:
        if isinstance(model, Blend):
            parts = {label: _stored(own, dataset, dtype) for label, (_, own) in parts_of(model, params).items()}
            _write_blend(temporary, model, parts, dataset, k, fold_in, about)
        else:
            alone = Part(model, 1.0, seed, training)
            content = _content(alone, _stored(params, dataset, dtype), dataset, k, fold_in, index)
            _write(temporary, content, model, dataset, about | {"seed_of_histories": seed}, index)
    return folder


def _check_index(index: IndexOptions, model: System, k: int) -> None:
    """Check that an index can give a model's lists their candidates."""
    if not isinstance(index, IndexOptions):
        raise InputError(f"export.index is IndexOptions(...) or None, not {index!r}")
    if not isinstance(model, Model):
        raise InputError(f"{model.title} has no vectors that an index could search: export without it")
    _require("ann", "usearch")
    if index.candidates < k:
        raise InputError(f"index.candidates is {index.candidates}, fewer than the {k} items of a list")


def _write_blend(
    folder: Path, blend: Blend, stored: dict[str, Arrays], dataset: Dataset, k: int, fold_in: FoldInOptions | None,
    about: dict[str, Any],
) -> None:  # fmt: skip
    """Write each part as an export of its own, with a program of all scores, and what blends them."""
    for label, part in blend.parts.items():
        place = folder / PARTS / label
        place.mkdir(parents=True)
        content = _content(part, stored[label], dataset, k, fold_in, scores=True)
        _write(place, content, part.system, dataset, about | {"seed_of_histories": part.seed})
    content = _Content({}, {"interactions": seen_arrays(dataset)}, {})
    _write(folder, content, blend, dataset, about | {"blend": blend.weights})


def _content(
    part: Part, stored: Arrays, dataset: Dataset, k: int, fold_in: FoldInOptions | None,
    index: IndexOptions | None = None, scores: bool = False,
) -> _Content:  # fmt: skip
    """Return the programs and arrays of a model or a scorer, alone or in a blend, from its parameters as stored."""
    system = part.system
    if not isinstance(system, Model):
        check_exportable(system)
        programs = scorer_programs(system, stored, k, dataset.num_items, history_width(dataset))
        return _Content(programs, {"parameters": stored, "interactions": seen_arrays(dataset)}, SCORER_MEANINGS)
    computed = {name: array.astype(np.float32) for name, array in stored.items()}
    arrays = {"parameters": stored, "interactions": interaction_arrays(system, computed, dataset, part.seed)}
    candidates = None if index is None else min(index.candidates, dataset.num_items)
    programs = list_programs(system, stored | arrays["interactions"], k, candidates, scores)
    if part.training is not None or system.solves_users:
        given = part.training or TrainOptions(), fold_in or FoldInOptions()
        programs["newcomers"], arrays["newcomers"] = newcomers_program(system, stored, dataset, *given, part.seed)
    return _Content(programs, arrays, {spec.name: spec.meaning for spec in system.arrays})


def _write(
    folder: Path, content: _Content, system: System, dataset: Dataset, about: dict[str, Any],
    index: IndexOptions | None = None,
) -> None:  # fmt: skip
    """Write the files of an export, the manifest last."""
    for name, program in content.programs.items():
        (folder / f"{name}.stablehlo").write_bytes(program.exported.serialize())
    _write_arrays(folder, content.arrays, dataset)
    if index is not None:
        assert isinstance(system, Model)
        # Items of a factorization are near a user whose product with p_u is large.
        space = "ip" if system.similarity == "cosine" else "l2sq"
        query = "query.stablehlo" if "query" in content.programs else "user"
        write_index(folder, content.arrays["parameters"]["item"].astype(np.float32), space, index, query)
    shutil.copyfile(Path(__file__).with_name("answer.py"), folder / "answer.py")
    _write_manifest(folder, content, system, about)


def _require(extra: str, *packages: str) -> None:
    """Check that the packages of an extra are installed."""
    if any(importlib.util.find_spec(name) is None for name in packages):
        raise InputError(f"export needs {' and '.join(packages)}; {missing_extra(extra)}")


def _stored(params: Params, dataset: Dataset, dtype: str) -> Arrays:
    """Return the parameters as they are stored."""
    held = unpadded(params, dataset.num_users, dataset.num_items)
    return {name: np.asarray(array, jnp.dtype(dtype)) for name, array in held.items()}


def _write_arrays(folder: Path, arrays: dict[str, Arrays], dataset: Dataset) -> None:
    """Write the arrays that the programs take, file by file, and ids, titles and vectors as tables."""
    parameters = arrays.get("parameters", {})

    tables = arrays.get("interactions", {}) | parameters  # users may be made from their items

    def vectors(name: str, column: str = "vector") -> list[pl.Series]:
        if name not in tables:
            return []
        table = tables[name].astype(np.float32)
        return [pl.Series(column, table, dtype=pl.Array(pl.Float32, table.shape[1]))]

    for name, held in arrays.items():
        write_arrays(folder / f"{name}.safetensors", held)
    pl.DataFrame([dataset.user_ids.alias("id"), *vectors("user")]).write_parquet(folder / "users.parquet")
    items = [dataset.item_ids.alias("id"), dataset.item_titles.alias("title"), *vectors("item")]
    pl.DataFrame(items).write_parquet(folder / "items.parquet")
    if {"keys", "memories"} <= set(parameters):
        memories = pl.DataFrame([*vectors("keys", "key"), *vectors("memories", "memory")])
        memories.with_row_index("id").write_parquet(folder / "memories.parquet")


def _write_manifest(folder: Path, content: _Content, system: System, about: dict[str, Any]) -> None:
    """Write what a reader needs to know of the other files."""
    meanings, options = _MEANINGS | content.meanings, {} if isinstance(system, Blend) else dict(system.options)
    manifest = {
        "format": FORMAT,
        "packages": {name: version(name) for name in ("hlr_jax", "jax", "jaxlib", "safetensors")},
        "model": {"name": system.name, **options},
        **about,
        "programs": {name: _described(name, program) for name, program in content.programs.items()},
        "arrays": {
            f"{file}.safetensors": {
                name: _shape(array) | {"holds": meanings.get(name, "")} for name, array in of.items()
            }
            for file, of in content.arrays.items()
        },
        "files": {
            path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    }
    write_json(folder / "manifest.json", manifest)


def _described(name: str, program: Program) -> dict[str, Any]:
    """Return what a caller of a program needs to know."""
    exported = program.exported
    return {
        "file": f"{name}.stablehlo",
        "platforms": list(exported.platforms),
        "calling_convention_version": exported.calling_convention_version,
        "reads": list(program.reads),
        "inputs": jax.tree.map(_shape, jax.tree.unflatten(exported.in_tree, exported.in_avals)[0][1:]),
        "outputs": jax.tree.map(_shape, jax.tree.unflatten(exported.out_tree, exported.out_avals)),
    }


def _shape(array: Any) -> dict[str, Any]:
    shape = [size if isinstance(size, int) else str(size) for size in array.shape]
    return {"shape": shape, "dtype": str(array.dtype)}
