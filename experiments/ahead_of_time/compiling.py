"""One program compiled for one target, as a record."""

import re
import time
from typing import Any

from ahead_of_time import compiled_text, formulas, programs, shapes, targets
from ahead_of_time.targets import TARGETS, Target

_USED = re.compile(r"Used ([\d.]+)([KMG]?) of ([\d.]+)([KMG]?)")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
_LARGE = 2**20  # a copy of so many bytes is worth a look


def record_of(
    target_name: str, size_name: str, model_name: str, program_name: str, dim: int, batch_size: int
) -> dict[str, Any]:
    """Compile a program and return its record; what the compiler refuses is a record too."""
    target, size, model = TARGETS[target_name], shapes.SIZES[size_name], programs.create_model(model_name, dim)
    record: dict[str, Any] = {
        "target": target_name, "size": size_name, "model": model_name, "program": program_name,
        "mesh": f"{target.mesh[0]} x {target.mesh[1]}", "batch_size": batch_size,
    }  # fmt: skip
    if program_name in programs.TRAININGS:
        batch, optimizer = program_name.split("-")
        record["interaction_bytes"] = formulas.interaction_bytes(size, model, batch)
        if batch == "triplets":
            step = formulas.Step(model, size, batch_size, 1, optimizer == "lazy_adam", target)
            record |= formulas.facts(step)
        else:
            record["batch_size"] = programs.users_per_batch(batch_size)
    if is_too_large(size_name):
        return record | _too_many(size, model, program_name, target, dim)
    devices = targets.described_devices(target)
    places = programs.Devices(targets.mesh_of_devices(target, devices), devices[0])
    compile_program = programs.create(program_name, model, size, batch_size, places)
    start = time.perf_counter()
    try:
        compiled = compile_program()
    except Exception as problem:
        if "RESOURCE_EXHAUSTED" not in str(problem) and "Ran out of memory" not in str(problem):
            raise
        return record | {"outcome": "out of memory", "compile_s": time.perf_counter() - start} | _refused(str(problem))
    record |= {"outcome": "compiled", "compile_s": time.perf_counter() - start}
    return record | _memory(compiled, target) | _cost(compiled, record, target) | _text(compiled, target, size, dim)


def is_too_large(size_name: str) -> bool:
    """Return whether a size has more interactions than there are positions; then nothing is compiled."""
    return shapes.SIZES[size_name].interactions >= 2**31


def _too_many(size: shapes.Size, model: Any, program: str, target: Target, dim: int) -> dict[str, Any]:
    """Return the bytes that more than 2^31 interactions would take, and why they are not compiled."""
    copies, batch = (3, program.split("-")[0]) if program in programs.TRAININGS else (1, "users")
    needed = formulas.interaction_bytes(size, model, batch) + formulas.state_bytes(size, dim, target, copies)
    return {
        "outcome": "not compiled", "needed_bytes": int(needed), "fits": False,
        "why": f"positions are int32, which allows at most {2**31:,} interactions",
    }  # fmt: skip


def _refused(message: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"fits": False, "why": " ".join(message.split())[:600]}
    if used := _USED.search(message):
        fields["needed_bytes"] = int(float(used[1]) * _UNITS[used[2]])
    return fields


def _memory(compiled: Any, target: Target) -> dict[str, Any]:
    plan = compiled.memory_analysis()
    results = plan.output_size_in_bytes - plan.alias_size_in_bytes
    needed = plan.argument_size_in_bytes + plan.temp_size_in_bytes + results
    return {
        "argument_bytes": plan.argument_size_in_bytes, "temporary_bytes": plan.temp_size_in_bytes,
        "result_bytes": results, "needed_bytes": needed, "fits": needed <= target.chip.memory,
    }  # fmt: skip


def _cost(compiled: Any, record: dict[str, Any], target: Target) -> dict[str, Any]:
    """Return the compiler's estimate of a step of triplets: an epoch is a loop of steps."""
    cycles = compiled_text.looped_cycles(compiled.as_text())
    if not cycles or not record["program"].startswith("triplets"):
        return {}
    seconds, optimal = cycles / target.chip.clock, (compiled.cost_analysis() or {}).get("optimal_seconds")
    return {
        "estimated_step_s": seconds, "estimated_triplets_per_s": record["batch_size"] / seconds,
        "optimal_seconds": optimal,
    }  # fmt: skip


def _text(compiled: Any, target: Target, size: shapes.Size, dim: int) -> dict[str, Any]:
    text = compiled.as_text()
    shards = target.mesh[1]
    rows = {size.users, size.items, -(-size.users // shards) * shards, -(-size.items // shards) * shards}
    copied = compiled_text.copies(text, _LARGE)
    return {
        "collectives": compiled_text.collectives(text),
        "whole_tables": compiled_text.whole_tables(text, rows, dim),
        "copied_in_loops_bytes": sum(size for size, _ in copied),
        "copies_in_loops": [name for _, name in sorted(copied, reverse=True)[:6]],
        "odd": compiled_text.oddities(text),
    }  # fmt: skip
