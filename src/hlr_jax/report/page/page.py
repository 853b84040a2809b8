"""The whole page from groups of comparable runs."""

from collections.abc import Sequence
from importlib.resources import files

from hlr_jax.report.facts.groups import GroupFacts
from hlr_jax.report.page import exposure, figures, keys, samples, sections
from hlr_jax.report.page.charts import Identifiers
from hlr_jax.report.page.elements import Child, Markup, element

# Nothing may be fetched or run: the browser itself holds the page to that.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def draw_page(groups: Sequence[GroupFacts]) -> str:
    """Return the HTML of the page."""
    ids = Identifiers()
    labels = ", ".join(run.label for group in groups for run in group.runs)
    title = f"{labels} on {', '.join(dict.fromkeys(_data(group) for group in groups))}"
    style = Markup(files("hlr_jax.report.page").joinpath("style.css").read_text(encoding="utf-8"))
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", style),
    )
    main = element("main", [_group(group, number, ids) for number, group in enumerate(groups, 1)])
    header = element("header", element("h1", title), _warning(groups), _contents(groups))
    return "<!doctype html>\n" + element("html", head, element("body", header, main), lang="en") + "\n"


def _data(group: GroupFacts) -> str:
    return group.runs[0].loaded.parts.dataset.name


def _heading(group: GroupFacts) -> str:
    parts = group.runs[0].loaded.parts
    return f"{_data(group)}, protocol {parts.dataset.protocol.name}, K = {parts.eval.k}"


def _warning(groups: Sequence[GroupFacts]) -> Child:
    if len(groups) == 1:
        return None
    identities = [
        element(
            "li",
            f"{_heading(group)}: {', '.join(run.label for run in group.runs)} "
            f"(data {group.runs[0].loaded.parts.dataset.fingerprint[:16]}, "
            f"protocol {group.runs[0].loaded.parts.dataset.protocol.hash})",
        )
        for group in groups
    ]
    text = f"These runs fall into {len(groups)} groups of different data, protocol or K."
    warning = element("strong", "Figures of one group cannot be compared with another's.")
    return element("div", element("p", text, " ", warning), element("ul", identities), class_="warning", role="note")


_SECTIONS = {
    "runs": "Runs",
    "curves": "Learning curves",
    "figures": "Figures",
    "exposure": "Popularity and exposure",
    "keys": "Memory keys",
    "users": "Sample users",
}


def _contents(groups: Sequence[GroupFacts]) -> Markup:
    entries = []
    for number, group in enumerate(groups, 1):
        name = element("strong", f"{_heading(group)}: ") if len(groups) > 1 else None
        links = [element("li", element("a", words, href=f"#g{number}-{key}")) for key, words in _SECTIONS.items()]
        entries.append(element("ul", element("li", name) if name else None, links))
    return element("nav", entries, aria_label="Sections")


def _group(group: GroupFacts, number: int, ids: Identifiers) -> Markup:
    runs = group.runs
    reasons = any(one.reasons for found in group.lists for listed in found for one in listed)
    content: dict[str, list[Child]] = {
        "runs": sections.run_table(runs),
        "curves": sections.learning_curves(runs, ids),
        "figures": figures.metric_tables(runs, group.test),
        "exposure": exposure.popularity_and_exposure(runs, group.exposures, ids),
        "keys": keys.memory_keys([run.label for run in runs], group.keys),
        "users": [
            *samples.explanation(reasons),
            samples.sample_users([run.label for run in runs], group.users, group.lists),
        ],
    }
    drawn = [
        element("section", element("h3", words, id=f"g{number}-{key}"), content[key])
        for key, words in _SECTIONS.items()
    ]
    return element("section", element("h2", _heading(group)), sections.data_and_protocol(runs), drawn)
