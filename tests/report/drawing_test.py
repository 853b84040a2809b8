"""The parts that pages are made of."""

import numpy as np
import pytest

from hlr_jax.evaluation.metrics import catalog_metrics
from hlr_jax.report.drawing import HEIGHT, LEFT, WIDTH, Axis, dots, element, place, spanning
from hlr_jax.report.recommendations import Exposure, lorenz


def test_text_and_attributes_are_escaped_and_markup_is_not():
    inner = element("b", "<script>alert(1)</script>", title='a "quoted" <name>')
    outer = element("p", inner, " & ", ["x", None, 3], class_="soft", hidden=None)
    assert inner == '<b title="a &quot;quoted&quot; &lt;name&gt;">&lt;script&gt;alert(1)&lt;/script&gt;</b>'
    assert outer == f'<p class="soft">{inner} &amp; x3</p>'
    assert element("meta", charset="utf-8") == '<meta charset="utf-8">'


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (Axis("", 0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (Axis("", -3, 47), [0, 10, 20, 30, 40]),
        (Axis("", 0.9, 3.1, whole=True), [1, 2, 3]),
        (Axis("", 0.8, 120, log=True), [1, 10, 100]),
        (Axis("", 0.4, 6, log=True), [0.5, 1, 2, 5]),
    ],
)
def test_ticks_are_round_and_inside(axis, ticks):
    assert axis.ticks() == pytest.approx(ticks)


def test_places_grow_to_the_right_and_upward_and_factors_are_steps_on_a_log_scale():
    x, y = Axis("", 1, 100, log=True), spanning("", [2.0, 2.0])
    assert y.low < 2 < y.high
    left, middle, right = (place(x, y, (value, y.low)) for value in (1, 10, 100))
    assert left[0] == LEFT
    assert right[0] - middle[0] == pytest.approx(middle[0] - left[0])
    assert place(x, y, (1, y.high))[1] < left[1] < HEIGHT
    assert right[0] < WIDTH


def test_the_size_of_a_cloud_of_dots_is_bounded():
    x, y = Axis("", 0, 1), Axis("", 0, 1)
    cloud = [tuple(point) for point in np.random.default_rng(0).uniform(size=(40_000, 2))]
    drawn = dots(x, y, 0, cloud)
    assert drawn.count("M") <= (WIDTH / 2) * (HEIGHT / 2)
    assert drawn == dots(x, y, 0, cloud[::-1])
    assert dots(x, y, 0, [(0.5, 0.5)] * 9).count("M") == 1


def test_the_lorenz_curve_belongs_to_the_gini_coefficient(rng):
    items = rng.zipf(1.6, size=(500, 10)) % 90
    popularity = np.arange(90)
    shown = np.bincount(items.ravel(), minlength=90)
    curve = np.array(lorenz(shown))
    assert len(curve) == 91
    area = np.trapezoid(curve[:, 1], curve[:, 0])
    assert 1 - 2 * area == pytest.approx(catalog_metrics(items, popularity)["gini"])
    assert lorenz(np.array([1, 1, 1, 1])) == [(0, 0), (0.25, 0.25), (0.5, 0.5), (0.75, 0.75), (1, 1)]
    assert len(lorenz(np.arange(10_000))) <= 130


def test_shares_of_the_most_popular_items():
    exposure = Exposure(popularity=np.array([10, 50, 30, 10]), shown=np.array([0, 6, 0, 2]), lists=4)
    assert exposure.never == 2
    assert exposure.head(0.25) == (0.5, 0.75)
    assert exposure.head(0.5) == (0.8, 0.75)
