import hashlib
import http.server
import threading
import zipfile
from typing import ClassVar

import pytest

from hlr_jax.data import download
from hlr_jax.data.sources import DATASETS, Source
from hlr_jax.errors import InputError

BODY = bytes(range(256)) * 400


class Handler(http.server.BaseHTTPRequestHandler):
    ranges: ClassVar[list] = []
    cut_at: int | None = None

    def do_GET(self):
        asked = self.headers.get("Range")
        self.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()
        self.wfile.write(BODY[start : self.cut_at])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        Handler.ranges, Handler.cut_at = [], None
        yield f"http://127.0.0.1:{server.server_port}/file.bin"
        server.shutdown()


def test_a_partial_download_is_resumed(server, tmp_path):
    target, lines = tmp_path / "file.bin", []
    Handler.cut_at = 5000
    with pytest.raises((OSError, download.http.client.IncompleteRead)):
        download.fetch(server, target, log=lines.append)
    assert not target.exists()
    Handler.cut_at = None
    download.fetch(server, target, log=lines.append)
    assert target.read_bytes() == BODY
    assert Handler.ranges == [None, "bytes=5000-"]
    assert "resumed" in lines[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


def test_published_and_recorded_checksums(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"1,2\n")
    digest = hashlib.sha256(b"1,2\n").hexdigest()
    assert download.verify(path, digest) == digest
    with pytest.raises(InputError, match="wrong checksum"):
        download.verify(path, "0" * 64)
    assert download.verify(path, "") == digest
    download.remember(Source("https://example.invalid/a.csv", "", "a.csv", "csv", 4, 1), tmp_path)
    path.write_bytes(b"1,3\n")
    with pytest.raises(InputError, match=r"delete it and a\.csv\.sha256 beside it, then rerun"):
        download.verify(path, "")


def source(archive):
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return Source(f"https://example.invalid/{archive.name}", digest, "in/../../u.data", "movielens-100k", 4, 1)


def test_members_are_copied_to_chosen_names_and_paths_in_the_archive_are_ignored(tmp_path):
    folder = tmp_path / "cache" / "sources" / "x"
    folder.mkdir(parents=True)
    archive = folder / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("in/../../u.data", "1\t2\t3\t4\n")
    download._unpack(archive, folder, source(archive))
    assert sorted(path.name for path in folder.iterdir()) == ["a.zip", "u.data", "u.data.sha256"]
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@pytest.mark.parametrize("damage", ["truncated", "other"])
def test_a_damaged_archive_is_named_and_no_file_remains(tmp_path, damage):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("in/../../u.data" if damage == "truncated" else "else", "1\t2\t3\t4\n" * 5000)
    if damage == "truncated":
        archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"a\.zip: truncated or not the expected archive"):
        download._unpack(archive, tmp_path, source(archive))
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


@pytest.fixture
def archive_put_by_hand(tmp_path, monkeypatch):
    """Put an archive of the data set ``x`` into the cache, and return its folder."""
    monkeypatch.setenv("HLR_JAX_DATA", str(tmp_path))
    folder = tmp_path / "sources" / "x"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "a.zip", "w") as file:
        file.writestr("in/../../u.data", "1\t2\t3\t4\n")
    monkeypatch.setitem(DATASETS, "x", (source(folder / "a.zip"),))
    return folder


@pytest.mark.usefixtures("archive_put_by_hand")
def test_an_archive_put_into_the_cache_by_hand_is_used():
    obtained = download.obtain("x", log=lambda _: None)
    assert obtained[1].read_text() == "1\t2\t3\t4\n"
    assert download.obtain("x") == obtained


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "record"])
def test_a_damaged_unpacked_file_is_unpacked_again(archive_put_by_hand, damage):
    obtained, lines = download.obtain("x"), []
    path = obtained[1]
    if damage == "record":
        path.with_name("u.data.sha256").write_bytes(b"\xff")
    else:
        path.write_bytes({"flipped": b"1\t2\t3\t5\n", "cut": b"1\t2", "emptied": b""}[damage])
    assert download.obtain("x", log=lines.append) == obtained
    assert lines == [f"warning: {path}: damaged or changed since it was unpacked; unpacking it again"]
    assert path.read_bytes() == b"1\t2\t3\t4\n"
    (archive_put_by_hand / "a.zip").unlink()  # without its archive, the damaged file is an error
    path.write_bytes(b"mine")
    with pytest.raises(InputError, match=r"u\.data: wrong checksum.*delete it and u\.data\.sha256 beside it"):
        download.obtain("x")
    assert path.read_bytes() == b"mine"


def test_after_a_wrong_download_the_next_source_is_tried(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HLR_JAX_DATA", str(tmp_path))
    page = Source(server, "0" * 64, "u.data", "movielens-100k", 4, 1)
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as file:
        file.writestr("in/../../u.data", "1\t2\t3\t4\n")
    second = source(other)
    folder = tmp_path / "sources" / "x"
    folder.mkdir(parents=True)
    other.rename(folder / "other.zip")
    monkeypatch.setitem(DATASETS, "x", (page, second))
    lines = []
    assert download.obtain("x", log=lines.append)[1].exists()
    assert "wrong checksum" in lines[-1]
    assert not (folder / "file.bin").exists()


def test_without_network_or_login_the_message_names_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("HLR_JAX_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"without a login.*yelp\.com/dataset.* to .*review\.json"):
        download.obtain("yelp")

    def unreachable(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr(download.urllib.request, "urlopen", unreachable)
    with pytest.raises(
        InputError, match=r"ml-1m can't be downloaded.*no route.*download the file yourself to .*ml-1m\.zip"
    ):
        download.obtain("ml-1m", log=lambda _: None)
    with pytest.raises(InputError, match=r'unknown data set "ml-1mm".*did you mean "ml-1m"'):
        download.obtain("ml-1mm")


def test_the_registry_covers_the_paper():
    assert set(DATASETS) == {
        "ml-100k", "ml-1m", "ml-10m", "ml-20m", "ml-25m", "echonest", "yelp", "amazon-books", "lastfm-hetrec",
    }  # fmt: skip
    for sources in DATASETS.values():
        assert all(s.url.startswith(("https://", "wheel:")) or s.by_hand for s in sources)
