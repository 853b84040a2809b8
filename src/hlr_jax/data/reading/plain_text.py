"""Converts compressed or differently encoded text files to plain ones: UTF-8 without a byte-order mark."""

import bz2
import codecs
import contextlib
import itertools
import lzma
import mmap
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from hlr_jax.data.reading.formats import COMPRESSIONS
from hlr_jax.errors import InputError
from hlr_jax.system_errors import translated

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_CHUNK = 1 << 20
_UTF8 = "utf-8"
_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    ".gz": lambda: zlib.decompressobj(wbits=31), ".bz2": bz2.BZ2Decompressor, ".xz": lzma.LZMADecompressor,
    ".zst": zstd.ZstdDecompressor,
}  # fmt: skip
_MARKS = {codecs.BOM_UTF8: _UTF8, codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class PlainText(NamedTuple):
    """A plain text file.

    Attributes:
      path: a file in UTF-8 without a byte-order mark: the source itself, or a temporary copy.
      notes: the conversions, for the log.
    """

    path: Path
    notes: tuple[str, ...]


@contextlib.contextmanager
def plain_text(path: Path, encoding: str = "") -> Iterator[PlainText]:
    """Yield the file as plain text.

    Args:
      path: of the file; see ``unpacked``.
      encoding: of the text; empty: the encoding of its byte-order mark, else UTF-8.

    Raises:
      InputError: an unknown encoding, a damaged archive, or text in another encoding; names the line.
    """
    packed = path.suffix.lower() in COMPRESSIONS
    chunks = unpacked(path)
    head = b""
    while len(head) < 4 and (chunk := next(chunks, b"")):
        head += chunk
    mark = next((mark for mark in _MARKS if head.startswith(mark)), b"")
    given = _encoding_named(encoding)
    if mark and given.startswith("utf"):
        given = _MARKS[mark]
    if not (packed or mark) and given == _UTF8:
        yield PlainText(path, ())
        return
    skipped = len(mark) if given == _MARKS.get(mark) else 0
    notes = [f"unpacked from {path.suffix}"] * packed + [f"text in {given}"] * (given != _UTF8)
    with tempfile.TemporaryDirectory(prefix="hlr_jax-") as folder:
        plain = Path(folder) / "plain"
        with translated(plain), plain.open("wb") as out:
            out.writelines(_transcoded(itertools.chain([head[skipped:]], chunks), given, path))
        yield PlainText(plain, tuple(notes))


def unpacked(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file in blocks; ``.gz``, ``.bz2``, ``.xz``, ``.zst``, ``.zip`` are unpacked.

    Raises:
      InputError: a damaged archive, or one with several members.
    """
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        if suffix not in COMPRESSIONS:
            while chunk := file.read(_CHUNK):
                yield chunk
            return
        try:
            yield from _member(file, path) if suffix == ".zip" else _streams(file, _DECOMPRESSORS[suffix])
        except (EOFError, OSError, zlib.error, lzma.LZMAError, zstd.ZstdError, zipfile.BadZipFile, NotImplementedError):
            raise InputError(f"{path}: damaged or truncated: it can't be unpacked as {suffix}") from None
        except RuntimeError:  # zipfile's error for encryption
            raise InputError(f"{path}: the archive needs a password; unpack it first") from None


def _streams(file: IO[bytes], new: Callable[[], Any]) -> Iterator[bytes]:
    """Yield the unpacked bytes of a file of one or more compressed streams, with optional zeros between them.

    Any other bytes after a stream are an error. The file objects of bz2 and lzma would silently ignore them, and so
    would hide damage.
    """
    stream, begun = new(), False
    while chunk := file.read(_CHUNK):
        while chunk:
            begun = True
            if out := stream.decompress(chunk):
                yield out
            if not stream.eof:
                break
            chunk = stream.unused_data.lstrip(b"\0")
            stream, begun = new(), False
    if begun:
        raise EOFError


def _member(file: IO[bytes], path: Path) -> Iterator[bytes]:
    with zipfile.ZipFile(file) as archive:
        members = [member.filename for member in archive.infolist() if not member.is_dir()]
        members = [name for name in members if not name.startswith("__MACOSX/")]
        if len(members) != 1:
            shown = ", ".join(members[:3]) + (", ..." if members[3:] else "")
            raise InputError(f"{path}: the archive has {len(members)} files ({shown[:120]}); unpack it and pass one")
        with archive.open(members[0]) as member:
            while chunk := member.read(_CHUNK):
                yield chunk


def _encoding_named(name: str) -> str:
    """Return Python's name of an encoding; the empty name is UTF-8.

    Raises:
      InputError: unknown to Python.
    """
    try:
        return codecs.lookup(name or _UTF8).name.removesuffix("-sig")
    except LookupError:
        raise InputError(f'unknown dataset.encoding "{name}"; pass, for example, latin-1, cp1252 or utf-16') from None


def _transcoded(chunks: Iterable[bytes], encoding: str, path: Path) -> Iterator[bytes]:
    """Yield the text as UTF-8 bytes."""
    if encoding == _UTF8:  # readers check it
        yield from chunks
        return
    decoder, lines = codecs.getincrementaldecoder(encoding)(), 1
    try:
        for chunk in chunks:
            text = decoder.decode(chunk)
            lines += text.count("\n")
            yield text.encode()
        yield decoder.decode(b"", final=True).encode()
    except (UnicodeError, ValueError):
        raise InputError(
            f"{path}: line {lines} or later is not text in {encoding}; pass another dataset.encoding"
        ) from None


class Structure(NamedTuple):
    """Properties of a plain text file, found from its bytes before it is parsed.

    Attributes:
      regular: whether all lines have the same number of fields, no line is blank, and lines end in LF or CR LF.
      quotes: whether the file has a double quote.
      num_lines: number of lines that end in LF, plus an unterminated last line.
      repeats: whether the given name occurs in a line after the first.
    """

    regular: bool
    quotes: bool
    num_lines: int
    repeats: bool


def check_text(plain: Path, where: str) -> None:
    """Check that a file is UTF-8 without NUL bytes.

    Raises:
      InputError: it is not; names the line.
    """
    for _ in _text_blocks(plain, where):
        pass


def structure(plain: Path, separator: str, num_fields: int, where: str, name: str = "") -> Structure:
    """Return the structure of a file.

    Args:
      plain: UTF-8 text.
      separator: between fields.
      num_fields: expected number of fields of each line.
      where: name of the file in messages.
      name: of a column, to search for.

    Raises:
      InputError: bytes that are not UTF-8, or a NUL byte; names the line.
    """
    regular, quotes, lines, repeats, wanted = True, False, 0, False, name.encode()
    for block in _text_blocks(plain, where):
        quotes = quotes or b'"' in block
        repeats = repeats or wanted in block[block.index(b"\n") if not lines else 0 :]
        num_lines = _regular_lines(block, separator.encode(), num_fields) if regular else 0
        regular = num_lines > 0
        lines += num_lines or block.count(b"\n")
    return Structure(regular, quotes, lines, repeats)


def _text_blocks(plain: Path, where: str) -> Iterator[bytes]:
    """Yield the file in blocks of whole lines, each checked to be UTF-8 without NUL bytes.

    Raises:
      InputError: a block is not.
    """
    for number, block in enumerate(_blocks(plain)):
        if b"\0" in block or not _is_utf8(block):  # lines are counted only for the error
            first_line = 1 + sum(before.count(b"\n") for before in itertools.islice(_blocks(plain), number))
            _check_utf8(block, first_line, where)
            check_no_nul(block, where, first_line=first_line)
        yield block


def _blocks(plain: Path) -> Iterator[bytes]:
    """Yield the file in blocks of whole lines; a missing line end is added to the last one."""
    if not plain.stat().st_size:
        return
    with plain.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = 0
        while start < len(data):
            end = data.rfind(b"\n", start, start + _CHUNK) + 1 or data.find(b"\n", start) + 1
            yield data[start:end] if end else data[start:] + b"\n"
            start = end or len(data)


def check_no_nul(block: bytes, where: str, *, first_line: int = 1) -> None:
    """Check that a block has no NUL byte.

    Raises:
      InputError: it has; names the line.
    """
    if b"\0" in block:
        at = first_line + block[: block.index(b"\0")].count(b"\n")
        raise InputError(f"{where}: line {at} has a NUL byte; it is not text, or dataset.encoding is wrong")


def _regular_lines(block: bytes, separator: bytes, num_fields: int) -> int:
    """Return the number of lines of a block; 0 unless each line is a nonblank record of ``num_fields`` fields."""
    if num_fields == 1 or (b"\r" in block and block.count(b"\r") != block.count(b"\r\n")):
        return 0
    if not block.isascii() and b"\n" + codecs.BOM_UTF8 in block:
        return 0
    others, line = bytes(set(range(256)) - set(separator + b"\n")), separator * (num_fields - 1) + b"\n"
    divisions = block.translate(None, others)
    num_lines = len(divisions) // len(line)
    if divisions != line * num_lines:
        return 0
    return num_lines if len(separator) == 1 or block.count(separator) == (num_fields - 1) * num_lines else 0


def _is_utf8(block: bytes) -> bool:
    try:
        return block.isascii() or bool(block.decode())
    except UnicodeDecodeError:
        return False


def _check_utf8(block: bytes, line: int, where: str) -> None:
    try:
        block.decode()
    except UnicodeDecodeError as problem:
        at = line + block[: problem.start].count(b"\n")
        start = max(block.rfind(b"\n", 0, problem.start) + 1, problem.start - 16)
        bad = block[start : block.find(b"\n", problem.start)][:32].strip()
        for guess in ("cp1252", "latin-1"):
            shown = bad.decode(guess, "replace")
            if shown.isprintable() and "\ufffd" not in shown:
                hint = f"pass dataset.encoding, such as {guess}, which reads {shown!r}"
                raise InputError(f"{where}: line {at} is not text in UTF-8; {hint}") from None
        raise InputError(f"{where}: line {at} is not text in UTF-8; correct it, or pass dataset.encoding") from None
