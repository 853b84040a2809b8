"""A second reader of logs, in plain Python, written from the rules of docs/data/reading.md and RFC 4180 alone.

Where a file can be read in one way only, it is read. Where it cannot, ``Refused`` is raised. The package may refuse
more.
"""

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
import re
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
from data.witness_values import BLANKS, Layout, Reading, Refused, reading_of

csv.field_size_limit(10**9)


def read(data: bytes, layout: Layout) -> Reading:
    """Return the rows of the bytes; raises ``Refused`` where they are ambiguous."""
    data = unpacked(data, layout.packed)
    if layout.kind == "parquet":
        return reading_of(_parquet(data, layout), layout, keep_texts=True)
    text = text_of(data, layout.encoding)
    return {"ndjson": _ndjson, "adjacency": _adjacency, "delimited": _delimited}[layout.kind](text, layout)


def unpacked(data: bytes, ending: str) -> bytes:
    try:
        if ending == "gz":
            return gzip.decompress(data)
        if ending in ("bz2", "xz"):
            return _streams(data, bz2.BZ2Decompressor if ending == "bz2" else lzma.LZMADecompressor)
        if ending == "zst":
            with pa.input_stream(pa.BufferReader(data), compression="zstd") as stream:
                return stream.read()
        if ending == "zip":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                [member] = archive.namelist()
                return archive.read(member)
    except Exception as error:  # each library raises other errors
        raise Refused(f"compression: {error}") from None
    return data


def _streams(data: bytes, decompressor: type) -> bytes:
    """Return the concatenated streams; any other bytes after a stream are refused, not ignored."""
    parts = []
    while data:
        stream = decompressor()
        parts.append(stream.decompress(data))
        if not stream.eof:
            raise Refused("the stream is cut off")
        data = stream.unused_data
    return b"".join(parts)


def text_of(data: bytes, encoding: str) -> str:
    try:
        if encoding:
            return _unmarked(data.decode(encoding))
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return _unmarked(data.decode("utf-16"))
        return _unmarked(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Refused(str(error)) from None


def _unmarked(text: str) -> str:
    """Return a text without the byte-order marks at line starts that `cat` of several files produces."""
    return re.sub("(^|[\r\n])\ufeff", r"\1", text)


def _records(text: str, separator: str, quoted: bool) -> list[list[str]]:
    """Return the fields of every record; blank lines are skipped."""
    if quoted:
        try:
            records = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
        except csv.Error as error:
            raise Refused(str(error)) from None
    else:
        records = [line.split(separator) for line in re.split("\r\n|\r|\n", text)]
    return [fields for fields in records if len(fields) > 1 or (fields and fields[0].strip(BLANKS))]


def _delimited(text: str, layout: Layout) -> Reading:
    if layout.separator:
        return _by_separator(text, layout, layout.separator)
    found = []
    for separator in (",", ";", "\t", "|", " "):
        try:
            first = _records(text, separator, layout.quoted)[:1]
            _places(first[0] if first else [], layout.names)
        except Refused:
            continue
        found.append(separator)
    if len(found) != 1:
        raise Refused(f"separators: {found}")
    return _by_separator(text, layout, found[0])


def _by_separator(text: str, layout: Layout, separator: str) -> Reading:
    records = _records(text, separator, layout.quoted)
    if not records:
        raise Refused("no records")
    repeated = []
    if layout.header:
        places, width = _places(records[0], layout.names), len(records[0])
        head = _ids_of(records[0], places)
        repeated = [fields for fields in records[1:] if len(fields) == width and _ids_of(fields, places) == head]
        records = [fields for fields in records[1:] if fields not in repeated]
    else:
        places, width = layout.names, layout.width
    if any(len(fields) != width for fields in records):
        raise Refused("a record has another number of fields")
    rows = [{role: fields[place] for role, place in places.items()} for fields in records]
    return reading_of(rows, layout, repeated_headers=len(repeated))


def _ids_of(fields: list[str], places: dict) -> list[str]:
    return [fields[places[role]].strip(BLANKS) for role in ("user", "item")]


def _places(header: list[str], names: dict) -> dict:
    """Return the place of each role's column, by its exact name or by its name before a colon."""
    header = [name.strip(BLANKS) for name in header]
    short = [name.partition(":")[0] for name in header]
    places = {}
    for role, name in names.items():
        known = header if name in header else short
        if known.count(name) != 1:
            raise Refused(f"columns called {name}: {known.count(name)}")
        places[role] = known.index(name)
    return places


def _ndjson(text: str, layout: Layout) -> Reading:
    decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
    rows, place = [], 0
    gap = re.compile(r"[ \t\r\n]*")
    while (place := gap.match(text, place).end()) < len(text):
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            raise Refused(str(error)) from None
        after = gap.match(text, end)
        if not isinstance(value, dict) or (after.end() < len(text) and not set(after.group()) & set("\r\n")):
            raise Refused("a line is not one object")
        rows.append({role: value.get(name) for role, name in layout.names.items()})
        place = after.end()
    return reading_of(rows, layout)


def _object(pairs: list) -> dict:
    if len(dict(pairs)) < len(pairs):
        raise Refused("a key occurs twice")
    return dict(pairs)


def _constant(word: str) -> float:
    raise Refused(f"{word} is not JSON")


def _adjacency(text: str, layout: Layout) -> Reading:
    """Read lines of a user and its items, separated by blanks."""
    lines = [line.split() for line in re.split("\r\n|\r|\n", text)]
    rows = [{"user": line[0], "item": item} for line in lines for item in line[1:]]
    return reading_of(rows, layout)


def _parquet(data: bytes, layout: Layout) -> list[dict]:
    try:
        table = pq.read_table(pa.BufferReader(data), columns=list(layout.names.values()))
        table.validate(full=True)
        return [{role: row[name] for role, name in layout.names.items()} for row in table.to_pylist()]
    except Exception as error:
        raise Refused(f"parquet: {error}") from None
