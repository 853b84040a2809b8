"""The picture of the paper's claim and our measurement is that of the committed numbers."""

import importlib
from xml.etree import ElementTree

import polars as pl
import pytest
from command_line import ROOT, scripts

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def script():
    with scripts():
        yield importlib.import_module("claim_picture")


def numbers(name):
    return pl.read_csv(ROOT / "docs" / "results" / "table2" / f"{name}.csv")


def test_the_committed_picture_is_what_the_script_draws(script):
    drawn = script.picture(script.gains(numbers("paper"), numbers("table2")))
    assert (ROOT / "docs" / "claim.svg").read_text() == drawn


def test_bars_are_gains_over_cml(script):
    rows = {"metric": "NDCG", "model": ["CML", "HLR", "EASE"] * 4}
    paper, ours = (
        pl.DataFrame(rows | {"dataset": [name for name in names for _ in range(3)], "mean": means * 4}).with_columns(
            std=pl.col("mean") / 10
        )
        for names, means in ((script.STANDS_FOR, [2.0, 3.0, 1.0]), (script.STANDS_FOR.values(), [4.0, 3.0, 5.0]))
    )
    found = script.gains(paper, ours)
    expected = (0.5, -0.25, "EASE", 0.25)
    assert [(gain.paper[0], gain.ours[0], gain.best, gain.best_gain) for gain in found] == [expected] * 4
    # 3 with 10 % over 2 with 10 %: the ratio 1.5 has about the root of 2 times 10 %.
    assert [gain.paper[1] for gain in found] == pytest.approx([1.5 * 0.1 * 2**0.5] * 4)
    assert [gain.ours[1] for gain in found] == pytest.approx([0.75 * 0.1 * 2**0.5] * 4)
    picture = ElementTree.fromstring(script.picture(found))
    bars = [rect for rect in picture.iter(f"{SVG}rect") if rect.get("height") == "22"]
    zero = float(picture.find(f"{SVG}path[@class='zero']").get("d").split()[0][1:])
    for bar, gain in zip(bars, [0.5, -0.25] * 4, strict=True):
        left, width = float(bar.get("x")), float(bar.get("width"))
        assert (left if gain > 0 else left + width) == pytest.approx(zero, abs=0.1)
        assert width == pytest.approx(100 * abs(gain) * float(bars[0].get("width")) / 50, abs=0.1)
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    assert texts.count("+50%") == 4
    assert texts.count("\N{MINUS SIGN}25%") == 4
    assert texts.count("best: EASE +25%") == 4
