"""Metrics of runs in tables, with what they could have been otherwise."""

from collections.abc import Sequence

from hlr_jax.evaluation.intervals import LEVEL, RESAMPLES
from hlr_jax.report.facts.figures import PairedTest, figures_of, num_cohorts
from hlr_jax.report.facts.runs import RunFacts
from hlr_jax.report.page.elements import Child, Markup, element
from hlr_jax.report.page.tables import SPLIT_NAMES, amount, folded, table

Runs = Sequence[RunFacts]

_SHORT = {"ndcg": "NDCG", "map": "MAP", "mrr": "MRR", "map over k": "MAP over K", "rr sum": "RR sum"}


def metric_tables(runs: Runs, test: PairedTest | None) -> list[Child]:
    """Return every figure of the runs, of test first, with intervals; then each seed's own."""
    content: list[Child] = []
    for split in ("test", "valid"):
        chosen = [run for run in runs if split in run.figures]
        if not chosen:
            continue
        drawn = [_metric_table(chosen, split), _seed_table(chosen, split)]
        content += [folded("Figures on validation, which chose the epochs", *drawn)] if content else [*drawn]
        if split == "test":
            content = [_meaning(chosen), *content, _test_sentence(chosen, test)]
    return content or [element("p", "The data has neither validation nor test interactions, so there are no figures.")]


def _metric_table(runs: Runs, split: str) -> Markup:
    figures = [figures_of(run, split) for run in runs]
    rows: dict[str, Sequence[Child]] = {}
    for name in dict.fromkeys(name for found in figures for name in found):
        top = max(round(found[name].mean, 4) for found in figures if name in found)
        judged = len(runs) > 1 and _higher_is_better(name)
        cells: list[Child] = []
        for found in figures:
            if name not in found:
                cells.append("–")
                continue
            figure, more = found[name], []
            if figure.interval:
                more.append(f"{amount(figure.interval[0], name)} to {amount(figure.interval[1], name)}")
            if figure.cohorts is not None:
                more.append(f"± {amount(figure.cohorts, name)} groups")
            if figure.seeds is not None:
                more.append(f"± {amount(figure.seeds, name)} seeds")
            best = judged and round(figure.mean, 4) == top
            cells.append(
                [
                    element("span", amount(figure.mean, name), class_="best" if best else None),
                    [element("span", line, class_="more") for line in more],
                ]
            )
        rows[_words(name)] = cells
    users, k = runs[0].figures[split]["users"], runs[0].loaded.parts.eval.k
    caption = f"At K = {k} on {SPLIT_NAMES[split]}, {users:,} users"
    return table(caption, [run.label for run in runs], rows, "figures")


def _meaning(runs: Runs) -> Markup:
    """Return what stands below the figures of test."""
    groups = " or ".join(str(count) for count in sorted({num_cohorts(run) for run in runs}))
    text = (
        "All items are ranked but those known before. Below a figure stands what it could have been: "
        f"{LEVEL:.0%} bootstrap interval over users ({RESAMPLES:,} draws); ± standard deviation over {groups} random "
        "groups of users, of the first seed"
    )
    several = [f"{len(run.loaded.params)} of {run.label}" for run in runs if len(run.loaded.params) > 1]
    text += f"; ± standard deviation over seeds ({', '.join(several)})" if several else ""
    return element("p", f"{text}.{' Bold: the best of a row.' if len(runs) > 1 else ''}", class_="soft")


def _words(name: str) -> str:
    words = name.partition("@")[0].replace("_", " ")
    return _SHORT.get(words, words.capitalize())


def _higher_is_better(name: str) -> bool:
    return not name.startswith(("median_popularity", "shown_popularity", "gini"))


def _seed_table(runs: Runs, split: str) -> Child:
    several = [run for run in runs if len(run.figures[split]["seeds"]) > 1]
    tables = []
    for run in several:
        seeds = run.figures[split]["seeds"]
        rows: dict[str, Sequence[Child]] = {
            _words(name): [amount(seed[name], name) for seed in seeds] for name in seeds[0] if "@" in name
        }
        context = [f"seed {seed['seed']}, epoch {seed['best_epoch']}" for seed in seeds]
        tables.append(table(f"{run.label} on {SPLIT_NAMES[split]}", context, rows, "figures"))
    return folded("Each seed", *tables) if tables else None


def _test_sentence(runs: Runs, test: PairedTest | None) -> Child:
    if test is None:
        return None
    others = "; ".join(f"{label}: {p:.2g}" for label, p in test.p_values.items())
    k = runs[0].loaded.parts.eval.k
    return element(
        "p", f"Best in {test.metric.upper()}@{k}: ", element("strong", test.best),
        f". Paired t-test over users, Holm-adjusted p of its difference from {others}.",
    )  # fmt: skip
