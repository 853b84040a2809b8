"""Whole pages of runs that are trained for them, on ids that would be markup if they were not escaped."""

import itertools
import json
import re
import shutil
from dataclasses import replace
from html import unescape
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from command_line import command, shell
from fabricated import metric_of
from report_browser import PROGRAM, chromium, contrast

import hlr_jax
from hlr_jax import InputError
from hlr_jax.json_files import read_json
from hlr_jax.provenance import maker_of
from hlr_jax.report.baselines import baselines_of
from hlr_jax.report.page import write_report
from hlr_jax.report.recommendations import exposure_of
from hlr_jax.report.runs import read_runs

EVIL = "<script>document.title='seized'</script>"
QUIET = {"quiet": True, "log": lambda _: None}


def config(path, model, *, split="random", seeds=1, **options):
    return {
        "dataset": {"path": str(path), "split": split},
        "model": {"name": model, "embed_dim": 4, **options},
        "train": {"num_epochs": 2, "batch_size": 100, "num_seeds": seeds},
        "eval": {"k": 5, "monitor": "ndcg"},
        "seed": 3,
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """CML with two seeds and HLR on one data set; MF-ALS on another, without a test split."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(1)
    met = np.argwhere(rng.uniform(size=(40, 30)) < 0.3)
    rows = pl.DataFrame({"user": [f"<b>{u}" for u, _ in met], "item": [f"{EVIL}{i} & co" for _, i in met]})
    rows.write_csv(folder / "all.csv")
    parts = rng.choice(["train", "train", "train", "valid"], len(met))
    rows.with_columns(split=pl.Series(parts)).write_csv(folder / "given.csv")
    hlr_jax.run(config(folder / "all.csv", "cml", seeds=2), folder / "cml", **QUIET)
    ease = config(folder / "all.csv", "ease")
    hlr_jax.run(ease | {"model": {"name": "ease"}, "train": {}}, folder / "ease", **QUIET)
    hlr = config(folder / "all.csv", "hlr", num_memories=2, max_history=4)
    hlr_jax.run(hlr, folder / "attentive", **QUIET)
    assert command("evaluate", f"--workdir={folder / 'attentive'}", "--reasons", "--num_users=9").returncode == 0
    mf_als = config(folder / "given.csv", "mf_als", split="given")
    mf_als["dataset"]["unknown_users"] = "drop"
    hlr_jax.run(mf_als, folder / "mf_als", **QUIET)
    return folder


@pytest.fixture(scope="module")
def page(runs):
    return write_report([runs / "cml", runs / "attentive"], runs / "two.html")


def result(runs, name, split):
    return json.loads((runs / name / "eval" / f"{split}.json").read_text())


def tables(page):
    """Return every table of the page by its caption: rows of cells as text."""
    by_caption = {}
    for markup in re.findall(r"<table.*?</table>", page.read_text(), re.DOTALL):
        table = ElementTree.fromstring(markup)
        rows = [["|".join(cell.itertext()) for cell in row] for row in table.iter("tr")]
        by_caption[table.find("caption").text] = {row[0]: row[1:] for row in rows}
    return by_caption


def test_every_figure_of_the_result_files_is_in_its_cell(runs, page):
    for split, words in (("test", "test"), ("valid", "validation")):
        expected = [result(runs, name, split) for name in ("cml", "attentive")]
        caption = f"K = 5 on {words}, {expected[0]['users']} users, {expected[0]['items']} items"
        shown = list(tables(page)[caption].values())[1:]
        names = [entry["metric"] for entry in expected[0]["metrics"]]
        assert len(shown) == len(names) == 12
        for name, cells in zip(names, shown, strict=True):
            form = "{:,.1f}" if "popularity" in name else "{:.4f}"
            for summary, cell in zip(expected, cells, strict=True):
                assert cell.split("|")[0] == form.format(metric_of(summary, name)["value"]), name
            assert cells[0].endswith(f"± {form.format(metric_of(expected[0], name)['std'])} seeds")
            assert "seeds" not in cells[1]
    seeds = list(tables(page)["CML on test"].values())
    assert seeds[0] == [
        f"seed {run['seed']}, epoch {run['best_epoch']}" for run in result(runs, "cml", "test")["seeds"]
    ]
    assert seeds[1] == [f"{ndcg:.4f}" for ndcg in metric_of(result(runs, "cml", "test"), "ndcg")["by_seed"]]


def test_intervals_and_groups_stand_below_what_single_users_have(runs, page):
    summary = result(runs, "cml", "test")
    rows = tables(page)[f"K = 5 on test, {summary['users']} users, {summary['items']} items"]
    shown = re.fullmatch(r"([\d.]+)\|([\d.]+) to ([\d.]+)\|± ([\d.]+) groups", rows["NDCG"][1])
    mean, low, high, spread = map(float, shown.groups())
    values = pl.read_parquet(runs / "attentive" / "eval" / "per_user.parquet")["ndcg"].to_numpy()
    error = values.std() / np.sqrt(len(values))
    assert (low, high) == (
        pytest.approx(mean - 1.96 * error, abs=error / 2),
        pytest.approx(mean + 1.96 * error, abs=error / 2),
    )
    assert 0 < spread < values.std()
    assert "to" not in rows["Coverage"][1]


def test_the_answer_comes_first_with_baselines_beside_it(runs, page):
    text = unescape(page.read_text())
    assert text.index("Result</h3>") < text.index("Metrics</h3>") < text.index("Runs, data and protocol</h3>")
    values = {name: metric_of(result(runs, name, "test"), "ndcg")["value"] for name in ("cml", "attentive")}
    best = max(values, key=values.get)
    label = {"cml": "CML", "attentive": "attentive (HLR)"}
    assert f"Best in NDCG@5 on test: <strong>{label[best]}, {values[best]:.4f}</strong> (95% interval " in text
    bars = next(rows for caption, rows in tables(page).items() if caption.startswith("NDCG@5 of "))
    loaded = hlr_jax.load_run(runs / "cml", log=lambda _: None)
    counts = np.bincount(loaded.parts.dataset.train.item, minlength=loaded.parts.dataset.num_items)
    popularity = ndcg_of_popularity(loaded.parts.dataset, counts, 5)
    expected = {label[name]: value for name, value in values.items()} | {"Popularity": popularity}
    shown = {name.strip().split("|")[-1].strip(): cells for name, cells in bars.items()}
    shown["Popularity"] = bars[next(name for name in bars if "Popularity" in name)]
    for name, value in expected.items():
        mean, interval = shown[name][1].split("|")
        low, high = map(float, interval.split(" to "))
        assert mean == f"{value:.4f}"
        assert low < value < high
    means = [float(cells[1].split("|")[0]) for name, cells in bars.items() if "system" not in name]
    assert means == sorted(means, reverse=True)
    widths = [float(width) for width in re.findall(r'class="fill \w+" style="width:([\d.]+)%"', page.read_text())]
    np.testing.assert_allclose(np.array(widths) / widths[0], np.array(means) / means[0], atol=1e-3)


def ndcg_of_popularity(dataset, counts, k):
    """Return the mean NDCG@k of the most popular items that a user does not know, by its definition."""
    values = []
    for user in np.unique(dataset.test.user):
        known = dataset.known.item[dataset.known.user == user]
        relevant = set(dataset.test.item[dataset.test.user == user].tolist())
        scores = np.where(np.isin(np.arange(len(counts)), known), -1, counts)
        listed = np.argsort(-scores, kind="stable")[:k]
        gains = sum(1 / np.log2(place + 2) for place, item in enumerate(listed) if int(item) in relevant)
        values.append(gains / sum(1 / np.log2(place + 2) for place in range(min(k, len(relevant)))))
    return np.mean(values)


def test_parts_of_a_blend_are_baselines_unless_they_are_runs_of_the_page(runs, tmp_path):
    done = command("blend", f"--workdir={tmp_path / 'both'}", f"--workdirs={runs / 'ease'},{runs / 'attentive'}")
    assert done.returncode == 0, done.stderr
    first, second = read_runs([tmp_path / "both", tmp_path / "both" / "parts" / "attentive"])
    found = {each.label: each for each in baselines_of([first])}
    assert set(found) == {"EASE", "HLR", "Popularity"}
    assert found["EASE"].metrics.value("ndcg") == metric_of(result(runs, "ease", "test"), "ndcg")["value"]
    weights = [float(found[name].note.split()[1]) for name in ("EASE", "HLR")]
    assert sum(weights) == pytest.approx(1)
    assert [each.label for each in baselines_of([first, second])] == ["Popularity", "EASE"]


def test_lists_exposure_and_reasons_are_those_of_the_model(runs, page):
    text = unescape(page.read_text())
    loaded = hlr_jax.load_run(runs / "attentive", log=lambda _: None)
    user = re.search(r"<h4>User (.*?)</h4>", text)[1]
    best = hlr_jax.recommend(
        loaded.parts.model, loaded.params[0], loaded.parts.dataset, [user], k=5, seed=3, num_reasons=2
    )
    cards = text[text.index(f"<h4>User {user}</h4>") :]
    listed = cards[cards.index("attentive (HLR): ") :]
    order = [listed.index(f"<li>{title}") for title in best["title"]]
    assert order == sorted(order)
    assert best["reason_items"].list.len().sum() > 0
    for title, reason, items in best.select("title", "reason", "reason_items").iter_rows():
        entry = listed[listed.index(f"<li>{title}") :].split("</li>")[0]
        assert entry.endswith(f">{reason if items else 'No single reason'}</span>")
    gini = metric_of(result(runs, "cml", "test"), "gini")["by_seed"][0]
    assert f"Gini of the first seed: CML {gini:.3f}" in text
    shown = tables(page)["Exposure"]["items in no list"]
    of_lists = (result(runs, name, "test") for name in ("cml", "attentive"))
    coverage = [metric_of(summary, "coverage")["by_seed"][0] for summary in of_lists]
    items = result(runs, "cml", "test")["items"]
    assert shown == [f"{items - round(share * items)} ({1 - share:.0%})" for share in coverage]


def test_what_attentions_do_is_drawn_by_epoch(runs, page):
    text = unescape(page.read_text())
    first, last = map(json.loads, (runs / "attentive" / "metrics.jsonl").read_text().splitlines())
    for name in ("memory_entropy", "neighbor_entropy", "memory_distance"):
        drawn = text[text.index(f"{name.replace('_', ' ')} by epoch</title>") :]
        described = drawn[: drawn.index("</desc>")]
        assert f"attentive (HLR), seed 3: from {first[name]:.4g} to {last[name]:.4g}, " in described
        assert "CML" not in described
    assert "Without memories: CML." in text


def test_how_true_reasons_are_is_shown_of_the_runs_that_were_measured(runs, page):
    record = read_json(runs / "attentive" / "eval" / "reasons.json", {}, "")
    assert (record["users"], record["k"]) == (9, 5)
    rows = tables(page)["Score lost when an item of the history is deleted"]
    assert rows[""] == ["attentive (HLR)"]
    largest = rows["largest drop without any one item of the history"]
    assert largest == [f"{record['largest_drop']:.3f} SD"]
    (run,) = read_runs([runs / "attentive"])
    assert vars(run.reasons) | {"made_by": maker_of(runs / "attentive")} == record


def test_exposure_is_that_of_the_lists_at_the_main_k(runs):
    (run,) = read_runs([runs / "cml"])
    parts = run.parts._replace(eval=replace(run.parts.eval, k=(5, 20)))
    several = run._replace(loaded=run.loaded._replace(parts=parts))
    alone, longer = (exposure_of(each, "test") for each in (run, several))
    np.testing.assert_array_equal(alone.shown, longer.shown)
    assert alone.shown.sum() == 5 * alone.lists


def test_ids_are_text_and_nothing_on_the_page_runs_or_loads(page):
    text = page.read_text()
    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#|data:)""", text)
    assert not re.search(r"url\(|@import|http:", text.replace("http-equiv", ""))
    assert "Without memory keys for pairs of items: CML." in text
    assert "attentive (HLR): 2 keys" in text


def test_the_same_runs_give_the_same_page(runs, page, tmp_path):
    again = write_report([runs / "cml", runs / "attentive", runs / "cml"], tmp_path / "again.html")
    assert again.read_bytes() == page.read_bytes()


def test_runs_on_other_data_stand_apart_and_a_run_may_lack_test(runs, tmp_path):
    page = write_report([runs / "mf_als", runs / "cml"], tmp_path / "apart.html")
    text = page.read_text()
    assert text.count("<h2>") == 2
    assert "Metrics of different groups are not comparable" in text
    assert "Best in" not in text
    shown = tables(page)
    users = result(runs, "mf_als", "valid")["users"]
    assert shown[f"K = 5 on validation, {users} users, {result(runs, 'mf_als', 'valid')['items']} items"]["NDCG"] == [
        f"{metric_of(result(runs, 'mf_als', 'valid'), 'ndcg')['value']:.4f}"
    ]


def spoiled(runs, folder, path, text):
    shutil.copytree(runs / "cml", folder)
    (folder / path).write_text(text) if text is not None else (folder / path).unlink()
    return folder


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("config.json", None, "is no workdir: it has no config.json; train first"),
        ("eval/valid.json", None, "eval/valid.json: no such file; run hlr-jax evaluate --workdir="),
        ("eval/test.json", "{", "eval/test.json: damaged, it is not JSON; run hlr-jax evaluate"),
    ],
)
def test_a_workdir_that_is_none_is_told_in_one_line(runs, tmp_path, path, text, message):
    folder = spoiled(runs, tmp_path / "spoiled", path, text)
    with pytest.raises(InputError) as problem:
        write_report([folder], tmp_path / "never.html")
    assert message in str(problem.value)
    assert "\n" not in str(problem.value)
    assert not (tmp_path / "never.html").exists()


def test_the_command_line(runs, tmp_path):
    done = shell("report", f"--workdir={runs / 'cml'}", f"--output={tmp_path / 'deep' / 'page.html'}")
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path / 'deep' / 'page.html'}: " in done.stdout
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["page.html"]
    done = command("report", f"--workdir={runs / 'cml'},{runs / 'nothing'}", f"--output={tmp_path}/x.html")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "nothing is no workdir" in done.stderr
    with pytest.raises(InputError, match=r"is a folder; pass a file for the page"):
        write_report([runs / "cml"], tmp_path)
    with pytest.raises(InputError, match="at least one workdir"):
        write_report([], tmp_path / "x.html")


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    if PROGRAM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with chromium(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


def test_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1280])
def test_a_browser_shows_the_page_without_complaint(tab, runs, page, width, dark):
    tab.open(page, width=width, dark=dark)
    assert tab.complaints() == []
    assert tab.requests() == [page.resolve().as_uri()]
    assert tab.evaluate("document.title") == "CML, attentive (HLR) on all"
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    colors = {
        name: tab.evaluate(f"getComputedStyle(document.documentElement).getPropertyValue('--{name}').trim()")
        for name in ("back", "card", "ink", "soft", "link", "warn", *(f"run{number}" for number in range(7)))
    }
    assert (contrast(colors["back"], "#000000") < 2) == dark
    for back in ("back", "card"):
        assert all(contrast(colors[name], colors[back]) >= 4.5 for name in ("ink", "soft", "link"))
        assert all(contrast(colors[f"run{number}"], colors[back]) >= 3 for number in range(7))
    assert contrast(colors["ink"], colors["warn"]) >= 4.5
    shown = tab.evaluate("document.body.innerText")
    for name in ("cml", "attentive"):
        summary = result(runs, name, "test")
        entries = [entry for entry in summary["metrics"] if "popularity" not in entry["metric"]]
        assert all(f"{entry['value']:.4f}" in shown for entry in entries)


def test_what_a_screen_reader_meets_has_names(tab, page):
    tab.open(page)
    nodes = [node for node in tab.send("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
    by_role = {}
    for node in nodes:
        by_role.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    images = by_role.get("image", by_role.get("img", []))
    assert len(images) == tab.evaluate("document.querySelectorAll('figure svg').length") >= 6
    assert all(images)
    assert all(by_role["table"])
    levels = tab.evaluate("[...document.querySelectorAll('h1,h2,h3,h4,h5')].map(heading => +heading.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_the_browser_does_tell_of_scripts_and_requests(tab, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text("<script>console.error('broken')</script><img src='absent.png'>")
    tab.open(bad)
    assert any("broken" in json.dumps(event) for event in tab.complaints())
    assert any(address.endswith("absent.png") for address in tab.requests())
