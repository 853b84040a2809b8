"""Downloads published files into the cache: resumes, verifies checksums, unpacks all members or none."""

import http.client
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from hlr_jax.data.sources import Source, named_dataset
from hlr_jax.errors import InputError
from hlr_jax.files import atomic_file, expanded, sha256, user_cache_folder
from hlr_jax.system_errors import is_refused, translated

Log = Callable[[str], None]
CONNECT_TIMEOUT = 10.0
_CHUNK = 1 << 20


def cache_folder() -> Path:
    """Return the folder of data sets: ``$HLR_JAX_DATA`` if set, else the user's cache folder."""
    chosen = os.environ.get("HLR_JAX_DATA")
    return expanded(chosen) if chosen else user_cache_folder()


def obtain(name: str, *, log: Log = print) -> tuple[Source, Path, str]:
    """Return a source of a named data set, the path of its interactions and their hash.

    Sources are tried in order, those in the cache first.

    Raises:
      InputError: no source can be reached, a checksum differs, an archive is truncated, or a login is needed.
    """
    sources = named_dataset(name)
    folder = cache_folder() / "sources" / name
    for source in sources:
        if files := _unpacked(folder, source, log):
            return files
    if sources[0].by_hand:
        wanted = folder / Path(sources[0].interactions).name
        raise InputError(f"data set {name} can't be downloaded without a login: {sources[0].by_hand} to {wanted}")
    failures = []
    for source in sources:
        try:
            archive = _fetch_source(source, folder, log)
        except (OSError, subprocess.SubprocessError, http.client.HTTPException) as problem:
            if is_refused(problem):
                raise
            failures.append(f"{source.url}: {problem}")
            log(f"{source.url} can't be reached ({problem})")
            continue
        _unpack(archive, folder, source)
        if files := _unpacked(folder, source, log):
            return files
    raise InputError(
        f"data set {name} can't be downloaded; tried {'; '.join(failures)}; check the network, or download the file "
        f"yourself to {_archive(folder, sources[0])}"
    )


def fetch(url: str, target: Path, *, log: Log = print) -> None:
    """Download ``url`` to ``target``; resumes a partial download in ``target.part``.

    Raises:
      OSError: the address does not answer, or the connection breaks. The partial download is kept.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=CONNECT_TIMEOUT)
    except urllib.error.HTTPError as problem:
        if problem.code != 416:  # 416: no bytes remain, so the partial file is complete
            raise
        os.replace(part, target)
        return
    with response:
        resumed = response.status == 206
        size = int(response.headers.get("Content-Length") or 0) + (have if resumed else 0)
        log(f"downloading {url} ({size / 1e6:.1f} MB{f', resumed at {have / 1e6:.1f} MB' if resumed else ''})")
        done, shown = (have, 0) if resumed else (0, 0)
        with translated(part, size or None), part.open("ab" if resumed else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                if size and (tenth := 10 * done // size) > shown and size > 20 * _CHUNK:
                    shown = tenth
                    log(f"  {done / 1e6:.0f} of {size / 1e6:.0f} MB ({100 * done // size} %)")
    if size and done < size:
        raise OSError(f"the connection broke after {done} of {size} bytes; rerun to resume")
    os.replace(part, target)


def _archive(folder: Path, source: Source) -> Path:
    """Return where the source's archive is cached; without an address, where the user puts the data file."""
    if source.url.startswith("wheel:"):
        package, version = source.url.removeprefix("wheel:").split("==")
        return folder / f"{package}-{version}-py3-none-any.whl"
    return folder / Path(source.url or source.interactions).name


def _fetch_source(source: Source, folder: Path, log: Log) -> Path:
    """Return the source's archive, from the cache or downloaded now.

    Raises:
      OSError: it can't be downloaded, or has a wrong checksum (for example, a login page); then it is removed.
      InputError: the archive in the cache has a wrong checksum.
    """
    archive = _archive(folder, source)
    if archive.exists():
        verify(archive, source.sha256)
        return archive
    _record(archive).unlink(missing_ok=True)  # the record of an earlier file that was deleted
    if source.url.startswith("wheel:"):
        _fetch_wheel(source.url.removeprefix("wheel:"), archive, log)
    else:
        fetch(source.url, archive, log=log)
    if source.sha256 and sha256(archive) != source.sha256:
        archive.unlink()
        raise OSError("the downloaded file has a wrong checksum")
    return archive


def _fetch_wheel(requirement: str, target: Path, log: Log) -> None:
    log(f"downloading {requirement} from the Python package index")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--only-binary=:all:"]
        done = subprocess.run([*command, "--dest", folder, requirement], capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"pip download failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
        os.replace(next(Path(folder).glob("*.whl")), target)


def _record(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def remember(source: Source, folder: Path) -> None:
    """Write the hash of a file without a published checksum to ``NAME.sha256`` beside it, once it was read."""
    archive = _archive(folder, source)
    if not source.sha256 and archive.exists() and not _record(archive).exists():
        _write_record(archive, sha256(archive))


def _write_record(path: Path, digest: str) -> None:
    with atomic_file(_record(path)) as temporary:
        temporary.write_text(f"{digest}  {path.name}\n")


def _recorded(path: Path) -> str:
    """Return the recorded hash of a file; empty if there is none.

    Raises:
      InputError: the record is damaged.
    """
    record = _record(path)
    if not record.exists():
        return ""
    words = record.read_bytes().split()
    if len(words) != 2 or not re.fullmatch(rb"[0-9a-f]{64}", words[0]):
        raise InputError(f"{record}: damaged, no SHA-256 found; delete it and {path.name} beside it, then rerun")
    return words[0].decode()


def verify(path: Path, expected: str) -> str:
    """Return a file's hash after comparing it with ``expected`` or, if that is empty, with the recorded hash.

    Raises:
      InputError: the hashes differ.
    """
    digest = sha256(path)
    expected = expected or _recorded(path)
    if expected and digest != expected:
        raise InputError(
            f"{path}: wrong checksum: SHA-256 {digest} instead of {expected}; the file is damaged or was changed: "
            f"delete it{' and ' + _record(path).name + ' beside it' if _record(path).exists() else ''}, then rerun"
        )
    return digest


def _unpack(archive: Path, folder: Path, source: Source) -> None:
    """Copy the needed members to file names chosen here; paths within the archive are ignored."""
    if not zipfile.is_zipfile(archive) and archive.name == Path(source.interactions).name:
        return
    digests = {}
    try:
        with zipfile.ZipFile(archive) as opened, ExitStack() as whole:  # all members, or none
            for member, target in _members(folder, source).items():
                stated = opened.getinfo(member).file_size
                _record(target).unlink(missing_ok=True)
                temporary = whole.enter_context(atomic_file(target, stated))
                with opened.open(member) as packed, temporary.open("wb") as file:
                    shutil.copyfileobj(packed, file, _CHUNK)
                if temporary.stat().st_size != stated:
                    raise zipfile.BadZipFile(f"{member} has another size than it states")
                digests[target] = sha256(temporary)
    except (NotImplementedError, RuntimeError):  # zipfile's errors for unsupported compression and encryption
        raise InputError(
            f"{archive}: a member is encrypted or uses a compression that Python does not support, so this is not "
            "the published archive; delete it, then rerun"
        ) from None
    except (zipfile.BadZipFile, KeyError, EOFError, zlib.error, lzma.LZMAError) as problem:
        raise InputError(
            f"{archive}: truncated or not the expected archive ({problem}); delete it, then rerun"
        ) from None
    for target, digest in digests.items():
        _write_record(target, digest)


def _members(folder: Path, source: Source) -> dict[str, Path]:
    return {name: folder / Path(name).name for name in (source.interactions, source.titles) if name}


def _unpacked(folder: Path, source: Source, log: Log) -> tuple[Source, Path, str] | None:
    """Return a source, the path of its interactions and their hash; None if a member is missing or damaged.

    A damaged file is deleted, so that it is unpacked again.

    Raises:
      InputError: a file is damaged and its archive is missing.
    """
    members = _members(folder, source)
    if not all(path.is_file() for path in members.values()):
        return None
    hashes = {}
    for path in members.values():
        if path == _archive(folder, source):
            hashes[path] = verify(path, source.sha256)
            continue
        try:
            hashes[path] = verify(path, "")
        except InputError:
            if not _archive(folder, source).exists():
                raise
            log(f"warning: {path}: damaged or changed since it was unpacked; unpacking it again")
            path.unlink()
            return None
        if not _record(path).exists():  # the user put the file here; later runs compare with this hash
            _write_record(path, hashes[path])
    path = members[source.interactions]
    return source, path, hashes[path]
