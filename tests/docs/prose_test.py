"""No sentence of README, pages and docstrings is long, and no page names a folder that is not published."""

import re

import pytest

from docs import prose

LONG = " ".join(["word"] * 36)

# Files whose long sentences are not divided yet. None is added.
NOT_YET: set[str] = set()


def words(text):
    return [sentence.words for sentence in prose.sentences(text.splitlines())]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One two three. Four five!", [3, 2]),
        ("A line\nthat goes on. Then\nanother one.", [5, 3]),
        ("As Tran et al. (2021) wrote, eq. 3 holds. Yes.", [9, 1]),  # abbreviations end nothing
        ("Memories lie in a ball of radius R. Its center is 0.", [8, 4]),
        ("At 0.5 it is 3.14 long.", [6]),  # nor do decimal points
        ("See `a b c` and [two words](page.md#here), or ``x y``.", [7]),
        ("It ends. `code` begins one; so does ``this one``.", [2, 6]),
        ("# A heading\nText follows", [2, 2]),
        ("- one item\n  goes on\n- another item", [4, 2]),
        ("1. first one\n2. second one", [2, 2]),
        ("before\n\n```sh\n" + LONG + "\n```\n\nafter", [1, 1]),
        ("| a table | " + LONG + " |", []),
        ("A dash - or a sign = is no word.", [8]),
        ("A formula\n\n    a b c d e f\n\nends.", [2, 1]),
        ("<!-- slow -->\nWords here.", [2]),
        (LONG, [36]),
    ],
)
def test_sentences_of_pages(text, expected):
    assert words(text) == expected


def test_sentences_of_docstrings(tmp_path):
    module = tmp_path / "module.py"
    module.write_text(
        '"""First line.\n\nhlr-jax train --config=a\n"""\n\n\ndef act(one, two):\n    """Do it.\n\n    Args:\n'
        "      one: the first of all\n        things.\n      two: another.\n\n    Example:\n      >>> act(1,\n"
        '      ...     2)\n      a long output that is no prose\n    """\n'
    )
    assert [sentence.text for sentence in prose.of_module(module)] == [
        "First line.", "Do it.", "one: the first of all things.", "two: another.",
    ]  # fmt: skip


def test_a_long_sentence_is_found_where_it_stands(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\nShort. {LONG.capitalize()}. Short.\n")
    assert [(found.line, found.words) for found in prose.long_sentences(page)] == [(3, 36)]


def test_no_sentence_is_long():
    found = [
        f"{path.relative_to(prose.ROOT)}:{one.line}: {one.text}"
        for path in prose.all_files()
        if str(path.relative_to(prose.ROOT)) not in NOT_YET
        for one in prose.long_sentences(path)
    ]
    assert not found, "\n".join(["divide these sentences:", *found])


def test_files_that_are_done_leave_the_list():
    assert not {name for name in NOT_YET if not prose.long_sentences(prose.ROOT / name)}


def test_pages_name_no_folder_that_is_not_published():
    pages = [path for path in prose.all_files() if path.suffix == ".md"]
    assert {path: re.findall(r"\.\./shared|/work\b|/root\b", path.read_text()) for path in pages} == {
        path: [] for path in pages
    }
