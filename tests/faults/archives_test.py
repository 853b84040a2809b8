"""Archives that are not what was published: one line, and nothing is left behind."""

import struct
import zipfile

import pytest

from hlr_jax.data import download
from hlr_jax.data.options import DataOptions
from hlr_jax.data.reading.files import read_interactions
from hlr_jax.data.sources import Source
from hlr_jax.errors import InputError

ROWS = b"user,item\n" + b"".join(b"%d,%d\n" % (number % 50, number % 37) for number in range(5000))
TITLES = b"item,title\n" + b"1,Jaws\n" * 200
SOURCE = Source("https://x.invalid/a.zip", "", "d/rows.csv", "movielens-csv", 4, 10, titles="d/titles.csv")
LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"


def packed(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def changed(path, member, local, central, value):
    """Put a number of two or four bytes into both headers of a member, at these places."""
    data = bytearray(path.read_bytes())
    form = "<H" if value < 2**16 else "<I"
    for magic, place in ((LOCAL, local), (CENTRAL, central)):
        start = 0
        for _ in range(member + 1):
            start = data.index(magic, start) + 1
        struct.pack_into(form, data, start - 1 + place, value)
    path.write_bytes(bytes(data))


DAMAGES = {
    "encrypted": (6, 8, 1),
    "unknown compression": (8, 10, 99),
    "unpacks to more than stated": (22, 24, 100),
    "unpacks to less than stated": (22, 24, 10**6),
}


@pytest.mark.parametrize("member", [0, 1])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_published_archive(damage, member, tmp_path):
    path = packed(tmp_path / "a.zip", ("d/rows.csv", ROWS), ("d/titles.csv", TITLES))
    changed(path, member, *DAMAGES[damage])
    with pytest.raises(InputError) as caught:
        download._unpack(path, tmp_path, SOURCE)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["a.zip"]


def test_paths_that_leave_the_folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    names = "../../rows.csv", "/etc/titles.csv"
    path = packed(folder / "a.zip", *zip(names, (ROWS, TITLES), strict=True))
    download._unpack(path, folder, Source("", "", names[0], "movielens-csv", 4, 10, titles=names[1]))
    assert sorted(file.name for file in folder.iterdir()) == [
        "a.zip",
        "rows.csv",
        "rows.csv.sha256",
        "titles.csv",
        "titles.csv.sha256",
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("damage", [name for name in DAMAGES if name != "unpacks to less than stated"])
def test_an_archive_of_ones_own(damage, tmp_path):
    path = packed(tmp_path / "a.csv.zip", ("rows.csv", ROWS))
    assert read_interactions(path, DataOptions(path=str(path))) is not None
    changed(path, 0, *DAMAGES[damage])
    with pytest.raises(InputError) as caught:
        read_interactions(path, DataOptions(path=str(path)))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
