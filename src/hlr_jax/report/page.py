"""The whole page, with one section for each group of comparable runs."""

from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import TypeAlias

from hlr_jax.colors import ON_DARK, ON_LIGHT
from hlr_jax.errors import InputError
from hlr_jax.files import atomic_file
from hlr_jax.report.baselines import baselines_of
from hlr_jax.report.curves import attention_curves, learning_curves
from hlr_jax.report.drawing import Child, Markup, element
from hlr_jax.report.headline import headline
from hlr_jax.report.keys import key_cards, keys_of
from hlr_jax.report.metrics import metric_tables
from hlr_jax.report.reasons import reason_tables
from hlr_jax.report.recommendations import Exposure, exposure_charts, exposure_of, lists_for, sample_lists
from hlr_jax.report.runs import TrainedRun, comparable_groups, data_and_protocol, read_runs, run_tables
from hlr_jax.serving.samples import sample_users

# The browser itself keeps the page from loading or running anything.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_SECTIONS = {
    "answer": "Result",
    "metrics": "Metrics",
    "users": "Sample users",
    "reasons": "Reasons",
    "exposure": "Popularity and exposure",
    "keys": "Memory keys",
    "curves": "Learning curves",
    "attention": "Attention",
    "runs": "Runs, data and protocol",
}
"""The sections of a group in their order; a section without content is left out."""
_Sections: TypeAlias = "dict[str, tuple[str, list[Child]]]"


def write_report(
    workdirs: Sequence[str | Path], output: str | Path, *, log: Callable[[str], None] = lambda _: None
) -> Path:
    """Write one self-contained HTML page about trained runs, and return its path.

    Runs on different data or protocols are in separate groups. The lists of each run's test users are computed again.

    Args:
      workdirs: folders of finished runs.
      output: the file of the page; an existing one is replaced.
      log: receives lines of progress.

    Raises:
      InputError: a folder has no finished run, or the output is a folder.
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
    ids = count(1)
    sections = [_sections(group, f"g{number}", ids, log) for number, group in enumerate(groups, 1)]
    header = element("header", element("h1", title), _warning(groups), _contents(groups, sections))
    main = element("main", [_drawn(group, content) for group, content in zip(groups, sections, strict=True)])
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
    warning = element("strong", "Metrics of different groups are not comparable.")
    return element("div", element("p", text, " ", warning), element("ul", identities), class_="warning", role="note")


def _contents(groups: Sequence[Sequence[TrainedRun]], sections: Sequence[_Sections]) -> Markup:
    entries = []
    for group, content in zip(groups, sections, strict=True):
        name = element("li", element("strong", f"{_heading(group)}: ")) if len(groups) > 1 else None
        links = [element("li", element("a", words, href=f"#{key}")) for key, (words, _) in content.items()]
        entries.append(element("ul", name, links))
    return element("nav", entries, aria_label="Sections")


def _sections(runs: Sequence[TrainedRun], prefix: str, ids: Iterator[int], log: Callable[[str], None]) -> _Sections:
    """Return the sections of comparable runs; computes their lists, the slow part, and logs each run."""
    users = sample_users(runs[0].parts.dataset)
    exposures: list[Exposure] = []
    keys, lists = [], []
    for run in runs:
        log(f"{run.label}: lists and keys")
        exposures += [exposure_of(run, run.split)] if run.split else []
        keys.append(keys_of(run))
        lists.append(lists_for(run, users))
    content = {
        "answer": headline(runs, baselines_of(runs)),
        "metrics": metric_tables(runs),
        "users": sample_lists(runs, users, lists),
        "reasons": reason_tables(runs),
        "exposure": exposure_charts(runs, exposures, ids),
        "keys": key_cards(runs, keys),
        "curves": learning_curves(runs, ids),
        "attention": attention_curves(runs, ids),
        "runs": [*run_tables(runs), data_and_protocol(runs[0].parts)],
    }
    return {f"{prefix}-{key}": (words, content[key]) for key, words in _SECTIONS.items() if content[key]}


def _drawn(runs: Sequence[TrainedRun], sections: _Sections) -> Markup:
    drawn = [element("section", element("h3", words, id=key), content) for key, (words, content) in sections.items()]
    return element("section", element("h2", _heading(runs)), drawn)
