"""Generates logs with any ids, ratings and timestamps, in any format, quoting, encoding and compression."""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.parquet as pq
from data.witness_values import AMONG_NUMBERS, BLANKS, MISSING, WHOLE, Layout
from hypothesis import strategies as st

NAMES = {role: role for role in ("user", "item", "rating", "timestamp")}
PLAIN = "abzXYéß019.-_"  # without what may divide fields
LATIN = PLAIN + "'#:/%,;|\" \n"
LETTERS = "abzXYéßøЖ中文あ한अعם𝔘😀019.-_'#:/\\%"
KINDS = ("csv", "csv", "csv", "csv", "inter", "dat", "ndjson", "parquet", "adjacency")
STAMPS = ("s", "ms", "us", "date", "naive", "Z", "offset")


@dataclass(frozen=True)
class Log:
    """A file, the settings to read it for the witness and for the package, and the written ids."""

    name: str
    data: bytes
    layout: Layout
    options: dict
    pairs: list[tuple[str, str]]


def ids(letters: str, size: int) -> st.SearchStrategy:
    """A column of distinct ids, as text: numbers, whole floats among numbers, codes with leading zeros, or texts."""
    numbers = st.integers(-5, 10**18).map(str)
    floats = st.integers(0, 2**53).map(lambda number: f"{number}.0")
    mixed = st.one_of(floats, st.integers(0, 9).map(str))
    codes = st.integers(0, 999).map(lambda number: f"{number:05}")
    texts = st.text(letters, min_size=1, max_size=6).filter(
        lambda text: text == text.strip(BLANKS) and text not in MISSING
    )
    kinds = st.sampled_from([numbers, mixed, codes, texts, texts])
    return kinds.flatmap(lambda kind: st.lists(kind, min_size=size, max_size=size, unique_by=_whole))


def _whole(text: str) -> str:
    return text.split(".")[0] if WHOLE.fullmatch(text) else text


def _cycled(column: list[str], size: int) -> list[str]:
    return [column[row % len(column)] for row in range(size)]


def as_read(column: list[str]) -> list[str]:
    """Return ids of a text file as they should be read: numbers if all are whole numbers."""
    if all(WHOLE.fullmatch(text) for text in column):
        return [_whole(text) for text in column]
    return column


def pairs_of(table: dict) -> list[tuple[str, str]]:
    """Return the ids of the records that have both, as they should be read."""
    columns = zip(table["user"], table["item"], strict=True)
    kept = [pair for pair in columns if not set(pair) & {*MISSING, *AMONG_NUMBERS}]
    users, items = ([pair[place] for pair in kept] for place in (0, 1))
    return list(zip(as_read(users), as_read(items), strict=True))


def stamp(kind: str, moment: int) -> str:
    day, hour = 1 + moment // 24 % 28, moment % 24
    clock = f"2021-01-{day:02} {hour:02}:30:00"
    scale = {"s": 1, "ms": 10**3, "us": 10**6}
    if kind in scale:
        return str((1_600_000_000 + 3600 * moment) * scale[kind])
    return {"date": clock[:10], "naive": clock, "Z": clock.replace(" ", "T") + "Z", "offset": clock + "+02:00"}[kind]


@st.composite
def logs(draw, *, kinds: tuple[str, ...] = KINDS, users: int = 0, packed_one_in: int = 2) -> Log:
    """Any log of these kinds.

    Args:
      draw: of hypothesis.
      kinds: each as often as it stands there.
      users: how many there are, each with four records or more; 0: as many as records.
      packed_one_in: how often the file is compressed.
    """
    kind = draw(st.sampled_from(kinds))
    size = draw(st.integers(4 * users, 5 * users) if users else st.integers(1, 5))
    rows = {
        "rating": draw(st.lists(st.sampled_from(["5", "0", "3.5", "-1", "0.25"]), min_size=size, max_size=size)),
        "timestamp": [
            stamp(form, moment)
            for form in [draw(st.sampled_from(STAMPS if kind in ("csv", "ndjson") else STAMPS[:1]))]
            for moment in draw(st.lists(st.integers(0, 600), min_size=size, max_size=size))
        ],
    }
    log = WRITERS[kind](draw, rows, size, users or size, kind)
    packing = draw(st.sampled_from(["gz", "bz2", "xz", "zst", "zip"]))
    if kind == "parquet" or draw(st.integers(1, packed_one_in)) > 1:
        return log
    return replace(
        log, name=f"{log.name}.{packing}", data=packed(log.data, packing), layout=replace(log.layout, packed=packing)
    )


def packed(data: bytes, ending: str) -> bytes:
    """Return compressed bytes, in two consecutive streams if the file extension allows that."""
    if ending != "zip" and len(data) % 2:
        half = len(data) // 2
        return _stream(data[:half], ending) + _stream(data[half:], ending)
    return _stream(data, ending)


def _stream(data: bytes, ending: str) -> bytes:
    if ending == "zst":
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(data)
        return sink.getvalue().to_pybytes()
    if ending == "zip":
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
            writer.writestr("log", data)
        return archive.getvalue()
    return {"gz": lambda data: gzip.compress(data, mtime=0), "bz2": bz2.compress, "xz": lzma.compress}[ending](data)


def _csv(draw, rows: dict, size: int, users: int, kind: str) -> Log:
    """Fields that may be quoted, with a title that nobody reads and that may hold lone quotes.

    Where a log is to be ``found``, the options do not say what divides fields and whether there is a header.
    """
    separator = draw(st.sampled_from(",;\t| "))
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    letters = PLAIN if kind == "found" else LATIN if encoding == "latin-1" else LETTERS + ',;|\t" \n'
    header = draw(st.booleans())
    table = {"user": _cycled(draw(ids(letters, users)), size), "item": draw(ids(letters, size)), **rows}
    missing = draw(st.sampled_from(["", "", "drop"]))
    if missing:
        column, place = table[draw(st.sampled_from(["user", "item"]))], draw(st.integers(0, size - 1))
        others = column[:place] + column[place + 1 :]
        are_numbers = others and all(WHOLE.fullmatch(text) for text in others)
        column[place] = draw(st.sampled_from(MISSING + AMONG_NUMBERS * bool(are_numbers)))
    title = draw(st.sampled_from(["", "plain", '12"x', 'a"b"', '"say ""hi"""', '"a\nb"']))
    decimal = "." if kind == "found" else draw(st.sampled_from([".", ","]))
    table["rating"] = [rating.replace(".", decimal) for rating in table["rating"]]
    order = draw(st.permutations(["user", "item", "rating", "timestamp", "title"]))
    always, end = draw(st.booleans()), draw(st.sampled_from(["\n", "\r\n", "\r"]))
    pad = draw(st.sampled_from(["", " "])) if separator != " " else ""

    def field(text: str) -> str:
        special = set(text) & {separator, '"', "\n", "\r"} or (separator == " " and not text)
        if special or always:
            return '"' + text.replace('"', '""') + '"'
        return text + pad

    lines = [[title if name == "title" else field(table[name][row]) for name in order] for row in range(size)]
    if header:
        head = [f'"{name}"' if always else name for name in order]
        again = draw(st.sampled_from([0, 0, 0, 1]))  # as in the `cat` of two files
        lines = [head, *lines[:1], *[head] * again, *lines[1:]]
    text = end.join(separator.join(line) for line in lines) + draw(st.sampled_from([end, "", end + end]))
    names = NAMES if header else {role: order.index(role) for role in NAMES}
    written = encoding if encoding == "latin-1" else draw(st.sampled_from(["", "", encoding]))
    layout = Layout("delimited", names, separator, header=header, width=5, encoding=written, decimal=decimal)
    options = {} if header else {"columns": ",".join("_" if name == "title" else name for name in order)}
    layout = replace(layout, missing=missing or "error")
    options |= {"encoding": written, "decimal": decimal, "missing_ids": layout.missing}
    if kind != "found" and (not header or draw(st.booleans())):
        options |= {"separator": "tab" if separator == "\t" else separator, "header": "yes" if header else "no"}
    ending = "tsv" if separator == "\t" else "csv"
    return Log(f"log.{ending}", text.encode(encoding), layout, options, pairs_of(table))


def _unquoted(draw, rows: dict, size: int, users: int, kind: str) -> Log:
    """RecBole's ``name:type`` headers, and MovieLens' ``::`` without a header. Quotes mean nothing."""
    separator = draw(st.sampled_from(["\t", "\t", ",", ";", " "])) if kind == "inter" else "::"
    letters = "".join(letter for letter in LETTERS + '"' if letter not in separator)
    table = {"user": _cycled(draw(ids(letters, users)), size), "item": draw(ids(letters, size)), **rows}
    lines = [separator.join(table[role][row] for role in NAMES) for row in range(size)]
    if kind == "inter":
        lines.insert(0, separator.join(["user_id:token", "item_id:token", "rating:float", "timestamp:float"]))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    names = {"user": "user_id", "item": "item_id", "rating": "rating", "timestamp": "timestamp"}
    layout = Layout("delimited", names, separator, quoted=False)
    options = {}
    if kind == "dat":
        layout = replace(layout, header=False, width=4, names={role: place for place, role in enumerate(NAMES)})
        options = {"format": "movielens-dat"}
    return Log(f"log.{kind}", (end.join(lines) + end).encode(), layout, options, pairs_of(table))


def _ndjson(draw, rows: dict, size: int, users: int, kind: str) -> Log:
    """Objects with numbers or texts, keys in any order, and nested values that are not read."""
    table = {
        "user": _cycled(draw(ids(LETTERS + '", \n{}[]', users)), size),
        "item": draw(ids(LETTERS + '"', size)),
        **rows,
    }
    bare = draw(st.booleans())
    table["rating"] = [float(rating) for rating in table["rating"]]
    for name in ("user", "item", "timestamp"):
        if bare and all(WHOLE.fullmatch(text) for text in table[name]):
            table[name] = [float(text) if "." in text else int(text) for text in table[name]]
    pairs = list(zip(*(as_read([str(value) for value in table[role]]) for role in ("user", "item")), strict=True))
    order = draw(st.permutations(list(NAMES)))
    extra = draw(st.sampled_from([{}, {"tags": ["a}", {"user": 1}]}, {"title": '12"'}]))
    ascii_only = draw(st.booleans())
    lines = [
        json.dumps({name: table[name][row] for name in order} | extra, ensure_ascii=ascii_only) for row in range(size)
    ]
    end = draw(st.sampled_from(["\n", "\r\n"]))
    data = (end.join(lines) + draw(st.sampled_from([end, ""]))).encode(draw(st.sampled_from(["utf-8", "utf-8-sig"])))
    return Log(draw(st.sampled_from(["log.ndjson", "log.jsonl"])), data, Layout("ndjson", NAMES), {}, pairs)


def _parquet(draw, rows: dict, size: int, users: int, kind: str) -> Log:
    """Columns of integers, floats or texts, which keep their type."""
    table = {"user": _cycled(draw(ids(LETTERS + '" \n', users)), size), "item": draw(ids(LETTERS, size)), **rows}
    written = {}
    for role in ("user", "item"):
        written[role] = table[role]
        if draw(st.booleans()) and all(WHOLE.fullmatch(text) for text in table[role]):
            written[role] = as_read(table[role])
            floats = all(abs(int(text)) <= 2**53 for text in written[role]) and draw(st.booleans())
            table[role] = [float(text) if floats else int(text) for text in written[role]]
    pairs = list(zip(written["user"], written["item"], strict=True))
    table["rating"] = [float(rating) for rating in table["rating"]]
    table["timestamp"] = [int(text) for text in table["timestamp"]]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(table), sink, compression=draw(st.sampled_from(["none", "snappy", "zstd"])))
    return Log("log.parquet", sink.getvalue().to_pybytes(), Layout("parquet", NAMES), {}, pairs)


def _adjacency(draw, rows: dict, size: int, users: int, kind: str) -> Log:
    """Lines of a user and its items, separated by blanks."""
    numbers = st.integers(0, 10**6)
    lists = draw(st.lists(st.tuples(numbers, st.lists(numbers, min_size=1, max_size=4)), min_size=1, max_size=5))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    text = "".join(" ".join(map(str, [user, *items])) + end for user, items in lists)
    pairs = [(str(user), str(item)) for user, items in lists for item in items]
    layout = Layout("adjacency", {"user": 0, "item": 0})
    return Log("lists.txt", text.encode(), layout, {"format": "adjacency"}, pairs)


WRITERS = {
    "csv": _csv, "found": _csv, "inter": _unquoted, "dat": _unquoted, "ndjson": _ndjson, "parquet": _parquet,
    "adjacency": _adjacency,
}  # fmt: skip
