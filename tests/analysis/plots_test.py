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


def test_bars_are_usage_and_the_dead_are_named():
    pytest.importorskip("matplotlib")
    axes = plots.key_usage(usage()).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.98, 0.02]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["key 0", "key 1 (dead)"]


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
    figure.savefig(tmp_path / "lifts.png")
    assert (tmp_path / "lifts.png").stat().st_size > 5000


def test_points_of_the_rarer_labels_are_other():
    pytest.importorskip("matplotlib")
    labels = [name for n, name in enumerate("abcdefgh") for _ in range(10 - n)]
    axes = plots.scatter(np.arange(2.0 * len(labels)).reshape(-1, 2), np.array([0.9, 0.1]), labels, "t").axes[0]
    counts = {line.get_label(): len(line.get_xdata()) for line in axes.lines}
    assert counts == {"other": 4 + 3, "a": 10, "b": 9, "c": 8, "d": 7, "e": 6, "f": 5}


def test_the_best_system_of_a_data_set_stands_out():
    pytest.importorskip("matplotlib")
    rows = {"dataset": ["x", "x", "y"], "metric": ["NDCG"] * 3, "model": ["CML", "HLR", "CML"], "mean": [2.0, 3.0, 1.0]}
    panels = plots.systems(pl.DataFrame(rows | {"std": [0.1] * 3})).axes
    assert [panel.get_title(loc="left") for panel in panels] == ["x", "y"]
    dots = [(float(box[0].get_xdata()[0]), box[0].get_color()) for box in panels[0].containers]
    assert len({color for _, color in dots}) == 2
    assert sorted(value for value, _ in dots) == [2.0, 3.0]
