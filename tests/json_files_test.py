"""What is read of our JSON: nothing that was changed, and nothing of another shape."""

import hashlib
import json

import pytest

from hlr_jax.errors import Damaged
from hlr_jax.json_files import json_lines, read_json, read_json_lines, write_json

SCHEMA = {"name": str, "k": [int], "seconds": float, "seeds": [{"seed": int, "best?": int | None}], "names": {"*": str}}
VALUE = {"name": "é", "k": (5, 10), "seconds": 1, "seeds": [{"seed": 3, "best": None}, {"seed": 4}], "names": {}}


def test_what_was_written_comes_back_and_its_checksum_is_that_of_sorted_keys(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, VALUE)
    assert read_json(path, SCHEMA, "") == VALUE | {"k": [5, 10]}
    plain = (
        '{"k": [5, 10], "name": "\\u00e9", "names": {}, "seconds": 1, "seeds": [{"best": null, "seed": 3}, '
        '{"seed": 4}]}'
    )
    assert json.loads(path.read_text())["check"] == hashlib.sha256(plain.encode()).hexdigest()[:16]
    write_json(path, json.loads(path.read_text()))  # what was read with its checksum gets no second one
    assert read_json(path, SCHEMA, "") == VALUE | {"k": [5, 10]}


def test_every_flipped_bit_is_found_or_changes_nothing(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, VALUE)
    data, good = path.read_bytes(), read_json(path, SCHEMA, "")
    found = 0
    for place in range(0, 8 * len(data), 5):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            assert read_json(path, SCHEMA, "") == good
        except Damaged:
            found += 1
    assert found > 1.4 * len(data.replace(b" ", b""))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "damaged, it is empty"),
        (b" \n", "damaged, it is empty"),
        (b'{"a": 1', "damaged, it is not JSON"),
        (b"\xff\xfe{\x00}\x00", "damaged, it is not JSON"),
        (b"[" * 100_000, "damaged, it is not JSON"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "damaged, it is not JSON"),
        (b"[]", "damaged, it holds no JSON object"),
        (b"{}", "damaged, or changed by hand: its checksum differs"),
        (b'{"a": "\\ud800"}', "damaged, or changed by hand: its checksum differs"),
    ],
)
def test_junk_is_one_line(tmp_path, data, reason):
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(Damaged) as problem:
        read_json(path, {}, "train again")
    assert str(problem.value) == f"{path}: {reason}; train again"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"k": 5}, '"k" is not a list'),
        ({"k": [5, True]}, '"k[1]" is not a whole number'),
        ({"k": [0.5]}, '"k[0]" is not a whole number'),
        ({"seconds": "1"}, '"seconds" is not a number'),
        ({"names": []}, '"names" is not an object'),
        ({"names": {"x": 1}}, '"names.x" is not text'),
        ({"seeds": [{}]}, 'it has no "seeds[0].seed"'),
        ({"seeds": [{"seed": 1, "best": "2"}]}, '"seeds[0].best" is not a whole number or null'),
    ],
)
def test_another_shape_is_named(tmp_path, change, reason):
    path = tmp_path / "a.json"
    write_json(path, VALUE | change)
    with pytest.raises(Damaged) as problem:
        read_json(path, SCHEMA, "train again")
    assert str(problem.value) == f"{path}: of another version, {reason}; train again"


def test_a_missing_file_and_a_folder_are_one_line(tmp_path):
    with pytest.raises(Damaged, match=r"a\.json: no such file; train again$"):
        read_json(tmp_path / "a.json", {}, "train again")
    with pytest.raises(Damaged, match=r"^train first$"):
        read_json(tmp_path / "a.json", {}, "train again", "train first")
    with pytest.raises(Damaged, match=r"Is a directory; train again$"):
        read_json(tmp_path, {}, "train again")


def test_of_lines_those_that_are_damaged_are_told_from_the_others(tmp_path):
    path = tmp_path / "a.jsonl"
    records = [{"epoch": epoch, "loss": epoch / 3} for epoch in range(3)]
    text = json_lines(records)
    path.write_text(text.replace('"epoch": 1', '"epoch": 7') + '{"epo')
    assert list(read_json_lines(path, {"epoch": int})) == [records[0], None, records[2], None]
