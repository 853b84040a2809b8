"""The whole page: one section for each group of comparable runs."""

from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from itertools import count
from pathlib import Path

from hlr_jax.colors import ON_DARK, ON_LIGHT
from hlr_jax.errors import InputError
from hlr_jax.files import atomic_file
from hlr_jax.report.curves import attention_curves, learning_curves
from hlr_jax.report.drawing import Child, Markup, element
from hlr_jax.report.keys import key_cards, keys_of
from hlr_jax.report.metrics import metric_tables
from hlr_jax.report.reasons import reason_tables
from hlr_jax.report.recommendations import Exposure, exposure_charts, exposure_of, lists_for, sample_lists
from hlr_jax.report.runs import TrainedRun, comparable_groups, data_and_protocol, read_runs, run_tables
from hlr_jax.serving.samples import sample_users

# Nothing may be fetched or run: the browser itself holds the page to that.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_SECTIONS = {
    "runs": "Runs",
    "curves": "Learning curves",
    "attention": "Attention",
    "figures": "Figures",
    "exposure": "Popularity and exposure",
    "keys": "Memory keys",
    "reasons": "Reasons",
    "users": "Sample users",
}


def write_report(
    workdirs: Sequence[str | Path], output: str | Path, *, log: Callable[[str], None] = lambda _: None
) -> Path:
    """Write one self-contained HTML page about trained runs, and return its path.

    Runs on different data or protocols stand apart on it. The lists of each run's test users are made anew.

    Args:
      workdirs: of finished runs.
      output: the page; an existing one is replaced.
      log: takes lines for people.

    Raises:
      InputError: a folder that holds no finished run, or an output that is no file.
    """
    path = Path(output)
    if path.is_dir():
        raise InputError(f"{path} is a folder; pass a file for the page, such as {path / 'report.html'}")
    page = _draw_page(comparable_groups(read_runs(workdirs, log)), log)
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _draw_page(groups: Sequence[Sequence[TrainedRun]], log: Callable[[str], None]) -> str:
    labels = ", ".join(run.label for group in groups for run in group)
    data = ", ".join(dict.fromkeys(group[0].parts.dataset.name for group in groups))
    title = f"{labels} on {data}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", _style_sheet()),
    )
    header = element("header", element("h1", title), _warning(groups), _contents(groups))
    ids = count(1)
    main = element("main", [_group_section(group, number, ids, log) for number, group in enumerate(groups, 1)])
    return "<!doctype html>\n" + element("html", head, element("body", header, main), lang="en") + "\n"


def _style_sheet() -> Markup:
    text = files("hlr_jax.report").joinpath("style.css").read_text(encoding="utf-8")
    for comment, colors in (("/* runs, light */", ON_LIGHT), ("/* runs, dark */", ON_DARK)):
        text = text.replace(comment, " ".join(f"--run{number}: {color};" for number, color in enumerate(colors)))
    return Markup(text)


def _heading(group: Sequence[TrainedRun]) -> str:
    dataset = group[0].parts.dataset
    return f"{dataset.name}, protocol {dataset.protocol.name}, K = {', '.join(map(str, group[0].parts.eval.ks))}"


def _warning(groups: Sequence[Sequence[TrainedRun]]) -> Child:
    if len(groups) == 1:
        return None
    identities = []
    for group in groups:
        dataset, labels = group[0].parts.dataset, ", ".join(run.label for run in group)
        hashes = f"(data {dataset.fingerprint[:16]}, protocol {dataset.protocol.hash})"
        identities.append(element("li", f"{_heading(group)}: {labels} {hashes}"))
    text = f"These runs fall into {len(groups)} groups of different data, protocol or K."
    warning = element("strong", "Figures of one group cannot be compared with another's.")
    return element("div", element("p", text, " ", warning), element("ul", identities), class_="warning", role="note")


def _contents(groups: Sequence[Sequence[TrainedRun]]) -> Markup:
    entries = []
    for number, group in enumerate(groups, 1):
        name = element("li", element("strong", f"{_heading(group)}: ")) if len(groups) > 1 else None
        links = [element("li", element("a", words, href=f"#g{number}-{key}")) for key, words in _SECTIONS.items()]
        entries.append(element("ul", name, links))
    return element("nav", entries, aria_label="Sections")


def _group_section(runs: Sequence[TrainedRun], number: int, ids: Iterator[int], log: Callable[[str], None]) -> Markup:
    """Return the section of comparable runs; makes their lists, the slow part, and logs each run."""
    users = sample_users(runs[0].parts.dataset)
    exposures: list[Exposure] = []
    keys, lists = [], []
    for run in runs:
        log(f"{run.label}: lists and keys")
        exposures += [exposure_of(run, run.split)] if run.split else []
        keys.append(keys_of(run))
        lists.append(lists_for(run, users))
    content = {
        "runs": run_tables(runs),
        "curves": learning_curves(runs, ids),
        "attention": attention_curves(runs, ids),
        "figures": metric_tables(runs),
        "exposure": exposure_charts(runs, exposures, ids),
        "keys": key_cards(runs, keys),
        "reasons": reason_tables(runs),
        "users": sample_lists(runs, users, lists),
    }
    sections = [
        element("section", element("h3", words, id=f"g{number}-{key}"), content[key])
        for key, words in _SECTIONS.items()
    ]
    return element("section", element("h2", _heading(runs)), data_and_protocol(runs[0].parts), sections)
