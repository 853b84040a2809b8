"""Plots hold what their frames hold."""

import re
import sys

import numpy as np
import polars as pl
import pytest

from hlr_jax import InputError
from hlr_jax.analysis import plots


def usage():
    return pl.DataFrame({"key": [0, 1], "usage": [0.98, 0.02], "largest": [0.99, 0.4], "dead": [False, True]})


def test_a_missing_matplotlib_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    install = f"install the extra: {sys.executable} -m pip install 'hlr_jax[plots]'"
    with pytest.raises(InputError, match=re.escape(f"plots need matplotlib; {install}")):
        plots.key_usage(usage())


def test_bars_are_deviations_from_the_equal_share_and_the_dead_are_named():
    pytest.importorskip("matplotlib")
    axes = plots.key_usage(usage()).axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([96, -96])
    assert axes.lines[0].get_xdata().tolist() == pytest.approx([98, -20])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["key 0", "key 1 (dead)"]


@pytest.mark.parametrize(("number", "shown"), [(2, ["1.00", "-0.25", "-0.25", "1.00"]), (11, [])])
def test_up_to_ten_keys_have_their_cosines_in_the_cells(number, shown):
    pytest.importorskip("matplotlib")
    key, other = np.indices((number, number)).reshape(2, -1)
    cosines = np.where(key == other, 1.0, -0.25)
    figure = plots.similarity(pl.DataFrame({"key": key, "other": other, "keys": cosines, "memories": cosines}))
    for panel in figure.axes[:2]:
        assert [text.get_text() for text in panel.texts] == shown


def test_lifts_are_written_in_their_cells(tmp_path):
    pytest.importorskip("matplotlib")
    rows = {"key": [0, 1, 0], "category": ["War", "War", "Drama"], "count": [9, 9, 9], "lift": [2.0, 0.5, 1.0]}
    figure = plots.category_lifts(pl.DataFrame(rows | {"p_adjusted": [0.01, 1.0, 1.0]}))
    axes = figure.axes[0]
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 1): "2.0*",
        (1, 1): "0.5",
        (0, 0): "1.0",
    }
    values = axes.images[0].get_array()
    assert values.filled(np.nan)[1].tolist() == [1.0, -1.0]
    assert values.mask.tolist() == [[False, True], [False, False]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["too few items to compare"]
    figure.savefig(tmp_path / "lifts.png")
    assert (tmp_path / "lifts.png").stat().st_size > 5000


def test_the_four_commonest_labels_have_lines_over_the_histogram_of_all():
    pytest.importorskip("matplotlib")
    labels = [name for n, name in enumerate("abcdef") for _ in range(10 - n)]
    axes = plots.along(np.arange(float(len(labels))), 0.9998, labels, "t").axes[0]
    shown = [text.get_text() for text in axes.get_legend().get_texts()]
    assert shown == ["all 45", "a (10)", "b (9)", "c (8)", "d (7)"]
    assert axes.get_xlabel() == "place along the first principal component (99.98% of the variance)"
    bars = [patch for patch in axes.patches if hasattr(patch, "get_height")]
    assert sum(bar.get_height() * bar.get_width() for bar in bars) == pytest.approx(1)


def test_the_best_system_of_each_data_set_and_source_has_another_color():
    pytest.importorskip("matplotlib")
    rows = {"dataset": ["x", "x", "y"], "metric": ["NDCG"] * 3, "model": ["CML", "HLR", "CML"]}
    paper, here = (
        pl.DataFrame(rows | {"mean": means, "std": [0.1] * 3}) for means in ([4.0, 3.0, 1.0], [2.0, 3.0, 1.0])
    )
    figure = plots.systems({"paper": paper, "here": here})
    panels = figure.axes
    assert [panel.get_title(loc="left") for panel in panels] == ["x", "y"]
    dots = [box[0] for box in panels[0].containers]
    assert [float(dot.get_xdata()[0]) for dot in dots] == [4.0, 3.0, 2.0, 3.0]
    best, other = dots[0].get_color(), dots[1].get_color()
    assert [dot.get_color() for dot in dots] == [best, other, other, best]
    assert best != other
    assert [dot.get_markerfacecolor() for dot in dots] == ["white", "white", other, best]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["paper", "here"]
