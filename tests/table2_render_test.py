"""Table 2 as Markdown, CSV, LaTeX and in the terminal."""

import io
import json
import re

import numpy as np
import polars as pl
import pytest
from fabricated import HASH, LEVELS, fabricate, metric_of
from rich.console import Console

from hlr_jax.cli.support import table2_render as render
from hlr_jax.evaluation.comparison import compare, read_result
from hlr_jax.evaluation.names import SYSTEMS
from hlr_jax.table2 import Comparison


def table_of(tmp_path, levels, systems=SYSTEMS, data="ml_100k", spread="seeds", tested="NDCG", **more):
    results = {name: read_result(fabricate(tmp_path / data / name, level, **more)) for name, level in levels.items()}
    block = compare(data, results, tested=tested, spread=spread)
    return Comparison([block], list(systems), tested, spread)


def test_metrics_follow_the_protocols_names(tmp_path):
    table = table_of(tmp_path, LEVELS)
    summary = json.loads((tmp_path / "ml_100k" / "hlr" / "eval" / "test.json").read_text())
    cells = {row: cells["hlr"] for row, cells in table.blocks[0].cells.items()}
    for row, name in (("MAP", "map_over_k"), ("MRR", "rr_sum"), ("NDCG", "ndcg"), ("Recall", "recall")):
        assert cells[row].mean == pytest.approx(100 * metric_of(summary, name)["value"])
        assert cells[row].std == pytest.approx(100 * metric_of(summary, name)["std"])
    assert (cells["Popularity"].mean, cells["Popularity"].std) == (51.0, 1.0)


def test_markdown(tmp_path):
    table = table_of(tmp_path, LEVELS, systems=("cml", "lrml", "hlr", "hlrpp"))
    text = render.markdown(table)
    ndcg = table.blocks[0].cells["NDCG"]["hlr"]
    assert f"**{ndcg.mean:.2f}** ± {ndcg.std:.2f}†" in text
    assert re.search(r"\|\s+\| CML +\| LRML +\| HLR +\| HLR\+\+ \|", text)
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    assert list(lines)[2:] == ["MAP", "MRR", "NDCG", "Precision", "Recall", "Popularity"]
    assert all(lines[row].count("**") == 2 for row in ("MAP", "MRR", "NDCG", "Precision", "Recall"))
    assert "**" not in lines["Popularity"]
    assert "51.0 ± 1.0" in lines["Popularity"]
    assert text.count("†") == 2  # its one mark, and the caption that says what it means
    assert lines["MAP"].rstrip(" |").endswith("–")
    for fact in (
        "K = 10", f"Protocol reference, hash {HASH}", "MAP is map_over_k, MRR is rr_sum", "over 3 seeds (0 to 2)",
        "ml_100k: 60 test users, 1,234 items", "Training took 38 s", "no result yet (HLR++ on ml_100k)",
        "Adjusted p, NDCG, HLR against: CML < 0.001, LRML < 0.001",
    ):  # fmt: skip
        assert fact in text


def test_k_is_read_from_the_results(tmp_path):
    table = table_of(tmp_path, LEVELS, k=20)
    assert "K = 20" in render.markdown(table)
    assert render.frame(table)["k"].unique().to_list() == [20]


def test_seven_systems_fit_the_terminal(tmp_path):
    levels = {system: 0.2 + n / 50 for n, system in enumerate(SYSTEMS)}
    table = table_of(tmp_path, levels, popularity=4771.0)
    assert max(map(len, (line for line in render.markdown(table).splitlines() if line.startswith("|")))) <= 140
    console = Console(width=80, file=io.StringIO())
    render.print_comparison(table, console)
    shown = console.file.getvalue()
    assert "…" not in shown
    assert "ml_100k: 60 test users, 1,234 items, K = 10\n" in "\n".join(map(str.rstrip, shown.splitlines()))
    assert re.search(r"^ *MAP\* .*^ *MRR\* .*^ *NDCG  ", shown, re.MULTILINE | re.DOTALL)
    assert all(name in shown for name in ("MF-ALS", "CML", "LRML", "TransCF", "AdaCML", "HLR", "HLR++"))


def test_no_mark_where_one_other_is_as_good(tmp_path):
    table = table_of(tmp_path, {"cml": 0.30, "hlr": 0.3001, "lrml": 0.2}, noise=0.1)
    assert "†" not in "".join(line for line in render.markdown(table).splitlines() if line.startswith("|"))
    assert not render.frame(table)["significant"].any()
    p = table.blocks[0].p_values
    assert max(p.values()) > 0.05 > min(p.values())


def test_the_mark_goes_to_the_chosen_row(tmp_path):
    frame = render.frame(table_of(tmp_path, LEVELS, tested="Recall"))
    assert frame.filter("significant").select("metric", "model").rows() == [("Recall", "HLR")]
    assert frame.filter(pl.col("p_adjusted").is_not_null())["metric"].unique().to_list() == ["Recall"]


def test_cohorts(tmp_path):
    table = table_of(tmp_path, LEVELS, spread="cohorts")
    summary = json.loads((tmp_path / "ml_100k" / "hlr" / "eval" / "test.json").read_text())
    first = metric_of(summary, "ndcg")["by_seed"][0]
    cells = table.blocks[0].cells
    assert cells["NDCG"]["hlr"].mean == pytest.approx(100 * first)  # 60 users are 5 groups of equal size
    users = pl.read_parquet(tmp_path / "ml_100k" / "hlr" / "eval" / "per_user.parquet").filter(pl.col("seed") == 0)
    groups = np.array_split(np.random.default_rng(0).permutation(60), 5)
    means = [users["ndcg"].to_numpy()[group].mean() for group in groups]
    assert cells["NDCG"]["hlr"].std == pytest.approx(100 * np.std(means))
    assert (cells["Popularity"]["hlr"].mean, cells["Popularity"]["hlr"].std) == (50.0, None)
    assert "over 5 disjoint random groups of users, seed 0" in render.markdown(table)


def test_one_seed_has_no_spread(tmp_path):
    text = render.markdown(table_of(tmp_path, LEVELS, seeds=(4,)))
    assert "One seed (4), so no ±." in text
    assert "One seed of CML, HLR, LRML: what another seed changes is not in the test." in text
    assert " ± " not in "".join(line for line in text.splitlines() if line.startswith("|"))


def test_csv_round_trip(tmp_path):
    table = table_of(tmp_path, LEVELS)
    render.write(table, tmp_path)
    assert {path.name for path in tmp_path.glob("*table2*")} == {"table2.md", "table2.csv", "table2.tex"}
    read, frame = pl.read_csv(tmp_path / "table2.csv"), render.frame(table)
    assert read.columns[:5] == ["dataset", "metric", "model", "mean", "std"]
    assert read.height == 6 * 3
    assert read.filter((read["metric"] == "NDCG") & (read["model"] == "HLR"))["mean"].item() == pytest.approx(
        table.blocks[0].cells["NDCG"]["hlr"].mean
    )
    assert read["p_adjusted"].null_count() == frame["p_adjusted"].null_count() == 18 - 2
    assert read["best"].sum() == 5


def test_latex(tmp_path):
    text = render.latex(table_of(tmp_path, LEVELS, systems=("cml", "lrml", "hlr", "hlrpp")))
    assert text.isascii()
    assert r"ml\_100k & MAP & " in text
    assert re.search(
        r"NDCG & [\d.]+ \$\\pm\$ [\d.]+ & .* & \\textbf\{[\d.]+\} \$\\pm\$ [\d.]+\$\^\{\\dagger\}\$ & --", text
    )
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 7
    assert all(row.count("&") == 5 for row in rows)
    assert len(re.findall(r"\\begin\{(table\*|tabular)\}", text)) == len(re.findall(r"\\end\{", text)) == 2
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert not re.search(r"(?<!\\)[_%#]", text)


def test_latex_escape():
    assert render.latex_escape(r"a_b & 50% {x} ~ \ ± <") == (
        r"a\_b \& 50\% \{x\} \textasciitilde{} \textbackslash{} $\pm$ $<$"
    )


def test_an_empty_table_is_a_table(tmp_path):
    table = Comparison([compare("x", {})], ["cml", "hlr"], "NDCG", "seeds")
    render.write(table, tmp_path)
    assert "No result yet." in (tmp_path / "table2.md").read_text()
    assert pl.read_csv(tmp_path / "table2.csv").height == 0
