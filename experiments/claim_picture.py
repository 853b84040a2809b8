"""Draw docs/claim.svg: the gain of HLR over CML by data set, in the paper and as measured with this package.

python experiments/claim_picture.py [--output=docs/claim.svg]

Reads docs/results/table2/paper.csv and docs/results/table2/table2.csv.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl
from absl import flags

from hlr_jax.cli.support.launch import launch
from hlr_jax.colors import ON_DARK, ON_LIGHT
from hlr_jax.files import atomic_file
from hlr_jax.report.drawing import Child, element

_DOCS = Path(__file__).resolve().parents[1] / "docs"
_OUTPUT = flags.DEFINE_string("output", str(_DOCS / "claim.svg"), "the picture")

STANDS_FOR = {"MovieLens": "movielens-1m", "Echonest": "lastfm", "Yelp": "yelp", "Amazon": "amazon-book"}
"""The public split that stands in for each of the paper's data sets."""
_WIDTH, _ZERO, _PER_PERCENT = 520, 106, 4.6  # 360 pixels of a phone show text of 15 as 11
_TOP, _GROUP, _BAR = 116, 92, 22
_STYLE = """
text {{ fill: {ink}; font-size: 15px; }} .head {{ font-size: 19px; font-weight: 700; }} .soft {{ fill: {soft}; }}
.strong {{ font-weight: 700; }} .back {{ fill: {back}; }} .paper {{ fill: {paper}; }} .ours {{ fill: {ours}; }}
.zero, .spread {{ stroke: {ink}; stroke-width: 1.5; }}
"""
_LIGHT = {"ink": "#1b1f24", "soft": "#555d68", "back": "#ffffff", "paper": "#b4bcc8", "ours": ON_LIGHT[1]}
_DARK = {"ink": "#e7eaee", "soft": "#a8b0bb", "back": "#14171b", "paper": "#69727f", "ours": ON_DARK[1]}


class Gain(NamedTuple):
    """The gain of HLR over CML on a data set, as shares of CML's NDCG@10, and the best system measured there.

    A gain has its standard deviation: over groups of users in the paper, over seeds here.
    """

    paper_data: str
    data: str
    paper: tuple[float, float]
    ours: tuple[float, float]
    best: str
    best_gain: float


def main() -> None:
    """Run the command."""
    output = Path(_OUTPUT.value)
    paper, ours = (pl.read_csv(_DOCS / "results" / "table2" / f"{name}.csv") for name in ("paper", "table2"))
    with atomic_file(output) as temporary:
        temporary.write_text(picture(gains(paper, ours)), encoding="utf-8")
    print(output)


def gains(paper: pl.DataFrame, ours: pl.DataFrame) -> list[Gain]:
    """Return the gains by data set from two frames of ``dataset``, ``metric``, ``model`` and ``mean``."""
    found = []
    for paper_data, data in STANDS_FOR.items():
        claimed, measured = _over_cml(paper, paper_data), _over_cml(ours, data)
        best = max(measured, key=lambda model: measured[model])
        found.append(Gain(paper_data, data, claimed["HLR"], measured["HLR"], best, measured[best][0]))
    return found


def _over_cml(frame: pl.DataFrame, data: str) -> dict[str, tuple[float, float]]:
    """Return by model the gain in NDCG over CML, as a share of CML's, and the standard deviation of their ratio."""
    rows = frame.filter(dataset=data, metric="NDCG").select("model", "mean", "std").rows()
    values = {model: (mean, std / mean) for model, mean, std in rows}
    cml, spread = values["CML"]
    return {model: (mean / cml - 1, mean / cml * math.hypot(std, spread)) for model, (mean, std) in values.items()}


def picture(found: list[Gain]) -> str:
    """Return the picture as SVG, with colors for light and dark pages."""
    height = _TOP + _GROUP * len(found) + 50
    described = "; ".join(
        f"{gain.data}: paper {_percent(gain.paper[0])}, measured {_percent(gain.ours[0])}, "
        f"best system {gain.best} {_percent(gain.best_gain)}"
        for gain in found
    )
    style = _STYLE.format(**_LIGHT) + f"@media (prefers-color-scheme: dark) {{{_STYLE.format(**_DARK)}}}\n"
    title = "Gain of HLR over CML in NDCG@10: the paper and our measurement"
    lines = [
        _text(16, 32, title.split(":")[0], "head"),
        element("rect", x=16, y=50, width=16, height=16, rx=2, class_="paper"),
        _text(40, 63, "the paper (Tran et al. 2021), on its data"),
        element("rect", x=16, y=74, width=16, height=16, rx=2, class_="ours"),
        _text(40, 87, "measured here, on public data"),
        *(_group(gain, _TOP + _GROUP * number) for number, gain in enumerate(found)),
        element("path", d=f"M{_ZERO} {_TOP - 8}V{height - 50}", class_="zero"),
        _text(_ZERO, height - 28, "0 = CML", "soft", "middle"),
        _text(16, height - 8, "Lines: \N{PLUS-MINUS SIGN} one SD (here: two seeds). Best: of seven, over CML.", "soft"),
    ]
    names = element("title", title, id="title"), element("desc", described, id="desc")
    back = element("rect", width=_WIDTH, height=height, class_="back")
    return (
        element(
            "svg", *names, element("style", style), back, lines, xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {_WIDTH} {height}", width=_WIDTH, height=height, role="img", aria_labelledby="title desc",
            font_family="system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif",
        )
        + "\n"
    )  # fmt: skip


def _group(gain: Gain, top: float) -> Iterator[Child]:
    """Yield the two bars of a data set, its names, and the best system on it."""
    yield _text(_ZERO + 8, top + 10, f"{gain.paper_data} / {gain.data}", "strong")
    yield _text(_WIDTH - 16, top + 10, f"best: {gain.best} {_percent(gain.best_gain)}", "soft", "end")
    for row, ((share, std), kind) in enumerate(((gain.paper, "paper"), (gain.ours, "ours"))):
        length, down = 100 * share * _PER_PERCENT, top + 18 + row * (_BAR + 3)
        left, right = min(_ZERO, _ZERO + length), max(_ZERO, _ZERO + length)
        yield element("rect", x=round(left, 1), y=down, width=round(max(1, right - left), 1), height=_BAR, class_=kind)
        spread, middle = 100 * std * _PER_PERCENT, down + _BAR / 2
        low, high = _ZERO + length - spread, _ZERO + length + spread
        yield element("path", d=f"M{low:.1f} {middle:g}H{high:.1f}", class_="spread")
        right = max(right, high)
        yield _text(round(right + 8, 1), down + 16, _percent(share))


def _percent(share: float) -> str:
    """Return a gain in whole percent, with a sign unless it rounds to 0."""
    rounded = round(100 * share)
    return f"{rounded:+d}%".replace("-", "\N{MINUS SIGN}") if rounded else "0%"


def _text(x: float, y: float, text: str, kind: str | None = None, anchor: str | None = None) -> Child:
    return element("text", text, x=x, y=y, class_=kind, text_anchor=anchor)


if __name__ == "__main__":
    launch(main)
