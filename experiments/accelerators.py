"""Compile training and ranking for accelerators that are not there, and record memory, collectives and estimates.

python experiments/accelerators.py --targets=h100x1,v5e-2x4 --sizes=paper --models=hlr --output=runs/accelerators.jsonl
python experiments/accelerators.py --read=runs/accelerators.jsonl --table=runs/accelerators.md

TPU targets need the extra tpu-aot, GPU targets cuda-aot. Nothing is allocated: programs get shapes alone. Each program
is compiled in a process of its own, for at most --limit seconds. docs/results/accelerators.md explains the records.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from absl import flags
from ahead_of_time.compiling import is_too_large, record_of
from ahead_of_time.programs import MODELS, programs_of
from ahead_of_time.shapes import SIZES
from ahead_of_time.table import markdown
from ahead_of_time.targets import TARGETS, check_extra
from benchmarks.report import write

from hlr_jax import InputError, errors
from hlr_jax.cli.support.launch import launch

_TARGETS = flags.DEFINE_list("targets", list(TARGETS), f"any of {', '.join(TARGETS)}")
_SIZES = flags.DEFINE_list("sizes", ["paper"], f"any of {', '.join(SIZES)}")
_MODELS = flags.DEFINE_list("models", list(MODELS), f"any of {', '.join(MODELS)}")
_PROGRAMS = flags.DEFINE_list("programs", [], "programs to compile, as the records name them; none: all of each model")
_DIM = flags.DEFINE_integer("embed_dim", 100, "D", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch_size", 8192, "B, triplets of a step", lower_bound=1)
_LIMIT = flags.DEFINE_float("limit", 600.0, "seconds that a program may compile for", lower_bound=1.0)
_OUTPUT = flags.DEFINE_string("output", "", "JSON lines file to append to; programs that it has are not compiled again")
_READ = flags.DEFINE_string("read", "", "compile nothing: make the table of this JSON lines file")
_TABLE = flags.DEFINE_string("table", "", "Markdown file for the table; none: it is printed")
_CHILD = flags.DEFINE_bool("child", False, "set by the command where it starts itself: compile in this process")

_WANTED = ("target", "size", "model", "program")


def wanted() -> Iterator[tuple[str, str, str, str]]:
    """Yield the target, size, model and program of everything asked for."""
    for target in _TARGETS.value:
        check_extra(TARGETS[errors.pick(target, TARGETS, "target of --targets:")])
    for target in _TARGETS.value:
        for size in _SIZES.value:
            errors.pick(size, SIZES, "size of --sizes:")
            for model in _MODELS.value:
                names = programs_of(errors.pick(model, MODELS, "model of --models:"))
                for name in names:
                    if not _PROGRAMS.value or name in _PROGRAMS.value:
                        yield target, size, model, name


def in_fresh_process(what: tuple[str, str, str, str]) -> dict[str, Any]:
    """Compile a program in a process of its own and return its record; a crash and a limit are outcomes too."""
    target, size, model, name = what
    command = [
        sys.executable, str(Path(__file__).resolve()), "--child", f"--targets={target}", f"--sizes={size}",
        f"--models={model}", f"--programs={name}", f"--embed_dim={_DIM.value}", f"--batch_size={_BATCH.value}",
    ]  # fmt: skip
    mesh = "{} x {}".format(*TARGETS[target].mesh)
    record = dict(zip(_WANTED, what, strict=True)) | {"mesh": mesh, "batch_size": _BATCH.value}
    environment = os.environ | {"TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, timeout=_LIMIT.value
        )
    except subprocess.TimeoutExpired:
        return record | {"outcome": "over the limit", "why": f"not compiled in {_LIMIT.value:g} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"target"')]
    if lines:
        return json.loads(lines[-1])
    last = (done.stderr.strip().splitlines() or ["no output"])[-1]
    return record | {"outcome": "failed", "why": f"status {done.returncode}: {last[:500]}"}


def read(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file of JSON lines; the last one of each program counts."""
    try:
        records = [json.loads(line) for line in path.read_text().splitlines()]
    except json.JSONDecodeError as problem:
        raise InputError(f"{path}: not a file of JSON lines: {problem}") from None
    return list({tuple(record[name] for name in _WANTED): record for record in records}.values())


def main() -> None:
    """Run the command."""
    jax.config.update("jax_platforms", "cpu")  # before JAX looks for what it could compute on
    if _CHILD.value:
        for what in wanted():
            print(json.dumps(record_of(*what, _DIM.value, _BATCH.value)))
        return
    if _READ.value:
        records = read(Path(_READ.value))
    else:
        output = Path(_OUTPUT.value) if _OUTPUT.value else None
        records = read(output) if output is not None and output.exists() else []
        there = {tuple(record[name] for name in _WANTED) for record in records}
        for what in wanted():
            if what in there:
                continue
            record = record_of(*what, _DIM.value, _BATCH.value) if is_too_large(what[1]) else in_fresh_process(what)
            records.append(record)
            print(", ".join(what), record["outcome"], record.get("needed_bytes", record.get("why", "")), flush=True)
            if output is not None:
                write(output, record)
    table = markdown(records)
    if _TABLE.value:
        Path(_TABLE.value).write_text(table)
    else:
        print(table)


if __name__ == "__main__":
    launch(main)
