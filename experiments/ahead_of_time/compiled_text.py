"""What stands in the text of a compiled program: its arrays, its collectives, and what it copies in its loops."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

_BITS = {"pred": 8, "s4": 4, "u4": 4, "s8": 8, "u8": 8, "bf16": 16, "f16": 16, "s16": 16, "u16": 16, "s32": 32,
         "u32": 32, "f32": 32, "s64": 64, "u64": 64, "f64": 64, "c64": 64}  # fmt: skip
_ARRAY = re.compile(rf"\b({'|'.join(_BITS)})\[([\d,]*)\]")
_HEAD = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) .*\{$")
_STEP = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\(")
_CALLED = re.compile(r"\b(?:body|condition|calls|to_apply|branch_computations)=(\{[^}]*\}|%?[\w.\-]+)")
_NAME = re.compile(r"[\w.\-]+")
_BODY = re.compile(r"\bbody=%?([\w.\-]+)")
_COLLECTIVES = (
    "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast",
    "ragged-all-to-all",
)  # fmt: skip
_FLOATS = ("f16", "bf16", "f32", "f64")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_NO_ESTIMATE = 2**40  # cycles: the compiler writes numbers above it where it has none
_HOST = re.compile(r"custom_call_target=\"[^\"]*(?:callback|HostExecute)[^\"]*\"|\b(?:infeed|outfeed)\(")


class Array(NamedTuple):
    """The type of an array."""

    kind: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Its bytes, without what a layout adds."""
        return math.prod(self.shape) * _BITS[self.kind] // 8


@dataclass(frozen=True)
class Instruction:
    """A step of a program: the computation that it stands in, what it does, the arrays that it makes, and its line."""

    computation: str
    name: str
    arrays: tuple[Array, ...]
    line: str


def arrays_in(text: str) -> list[Array]:
    """Return the types of arrays in a piece of text.

    Example:
      >>> arrays_in("(f32[2,3]{1,0}, s32[])")
      [Array(kind='f32', shape=(2, 3)), Array(kind='s32', shape=())]
    """
    return [Array(kind, tuple(map(int, filter(None, shape.split(","))))) for kind, shape in _ARRAY.findall(text)]


def instructions(text: str) -> Iterator[Instruction]:
    """Yield the instructions of a program in the order of its text."""
    computation = ""
    for line in text.splitlines():
        if head := _HEAD.match(line):
            computation = head[1]
        elif step := _STEP.match(line):
            yield Instruction(computation, step[3], tuple(arrays_in(step[2])), line)


def collectives(text: str) -> dict[str, dict[str, int]]:
    """Return by kind how many collectives stand in a program, and the bytes that each device gets of them.

    One that stands in a loop counts once: as often as the loop turns, its bytes move.
    """
    found: dict[str, dict[str, int]] = defaultdict(lambda: {"count": 0, "bytes": 0})
    for step in instructions(text):
        kind = step.name.removesuffix("-start")
        if kind not in _COLLECTIVES:
            continue
        arrays = list(step.arrays)
        if kind != step.name and kind != "all-reduce":
            # One that has been started gives its operands, its results, and scalars to wait by.
            arrays = [array for array in arrays if array.shape]
            arrays = arrays[len(arrays) // 2 :]
        found[kind]["count"] += 1
        found[kind]["bytes"] += sum(array.bytes for array in arrays)
    return dict(found)


def whole_tables(text: str, rows: set[int], dim: int) -> list[str]:
    """Return the arrays of floats that hold a whole table: one of ``rows`` along one axis, ``dim`` along another."""
    found = {
        (array.kind, array.shape)
        for array in arrays_in(text)
        if array.kind in _FLOATS and any(count in array.shape for count in rows) and dim in array.shape
    }
    return sorted(f"{kind}{list(shape)}" for kind, shape in found)


def looped(steps: list[Instruction]) -> set[str]:
    """Return the computations that run within loops."""
    calls = defaultdict(set)
    inside = set()
    for step in steps:
        for called in _CALLED.findall(step.line):
            calls[step.computation].update(_NAME.findall(called))
        inside.update(_BODY.findall(step.line))
    waiting = list(inside)
    while waiting:
        new = calls[waiting.pop()] - inside
        inside |= new
        waiting.extend(new)
    return inside


def copies(text: str, least: int) -> list[tuple[int, str]]:
    """Return what a program copies or transposes in its loops: bytes and type, of at least ``least`` bytes."""
    steps = list(instructions(text))
    within = looped(steps)
    return [
        (step.arrays[0].bytes, f"{step.name} {step.arrays[0].kind}{list(step.arrays[0].shape)}")
        for step in steps
        if step.computation in within and step.name in ("copy", "copy-start", "transpose")
        and step.arrays and step.arrays[0].bytes >= least
    ]  # fmt: skip


def looped_cycles(text: str) -> int:
    """Return the cycles that a TPU's compiler expects of all that stands in loops, each turned once.

    It expects nothing of what it leaves to other units: gathers, scatters, sorts and the wire.
    """
    steps = list(instructions(text))
    within = looped(steps)
    found = (_CYCLES.search(step.line) for step in steps if step.computation in within)
    return sum(cycles for match in found if match and (cycles := int(match[1])) < _NO_ESTIMATE)


def oddities(text: str) -> list[str]:
    """Return what no program should have: 64-bit floats, calls of the host, and shapes that are not known."""
    found = {array.kind for array in arrays_in(text) if array.kind in ("f64", "c64")}
    found |= {match[0] for match in _HOST.finditer(text)}
    return sorted(found | ({"dynamic shape"} if re.search(r"\w\[[\d,]*<=", text) else set()))
