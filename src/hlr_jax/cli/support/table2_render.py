"""Renders the paper's Table 2 as Markdown, CSV, LaTeX and on the terminal."""

import re
from pathlib import Path

import polars as pl
from rich.console import Console

from hlr_jax import files
from hlr_jax.cli.support.tables import titled_table
from hlr_jax.evaluation.comparison import (
    NUM_COHORTS,
    SIGNIFICANT,
    Block,
    Cell,
    Result,
    one_seed_note,
    with_one_seed,
)
from hlr_jax.evaluation.names import ROWS, TEST
from hlr_jax.systems import system_title
from hlr_jax.table2 import Comparison
from hlr_jax.training.result import train_seconds

NONE = "–"
MARK = "†"
_SCHEMA = {
    "dataset": pl.String, "metric": pl.String, "model": pl.String, "mean": pl.Float64, "std": pl.Float64,
    "best": pl.Boolean, "significant": pl.Boolean, "p_adjusted": pl.Float64, "k": pl.Int64, "spread": pl.String,
    "seeds": pl.Int64, "protocol": pl.String, "protocol_hash": pl.String, "data": pl.String, "users": pl.Int64,
    "items": pl.Int64, "train_seconds": pl.Float64,
}  # fmt: skip
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "±": r"$\pm$", MARK: r"$\dagger$",
    NONE: "--",
}  # fmt: skip


def caption(table: Comparison) -> list[str]:
    """Return the sentences that describe the numbers."""
    results = table.results()
    if not results:
        return ["No result yet."]
    some = max(results, key=lambda result: len(result.metrics.seeds))  # Popularity and EASE have one seed
    names = [f"{row} is {some.metric(row)}" for row in ROWS if row in some.metrics.names]
    renamed = f" ({', '.join(names)})" if names else ""
    sizes = "; ".join(_size(block) for block in table.blocks if block.results)
    seconds = sum(train_seconds(result.folder) for result in results)
    sentences = [
        f"Test metrics at K = {some.k} in percent; Popularity: median training users of the recommended items.",
        _spread(table, some),
        f"Protocol {some.metrics.protocol}, hash {some.metrics.protocol_hash}{renamed}.",
        f"{sizes}.",
        f"Bold: the best of a row. {MARK}: significantly better than every other system of its block "
        f"({table.tested}, {TEST}, Holm-adjusted p < {SIGNIFICANT}).",
        f"Training took {seconds:,.0f} s in total.",
    ]
    if note := _one_seed(table):
        sentences.append(note)
    if variants := _variants(table):
        sentences.append(f"{variants}.")
    if absent := table.missing():
        sentences.append(f"{NONE}: no result yet ({', '.join(absent)}).")
    return sentences


def _one_seed(table: Comparison) -> str:
    tested = [block for block in table.blocks if block.best]
    systems = (system for block in tested for system in with_one_seed(block.results, table.spread))
    return one_seed_note([system_title(system) for system in dict.fromkeys(systems)])


def _variants(table: Comparison) -> str:
    """Return the variant of each system that has several."""
    variants: dict[str, set[str]] = {}
    for block in table.blocks:
        for system, result in block.results.items():
            if result.variant:
                variants.setdefault(system, set()).add(result.variant)
    return "; ".join(
        f"{system_title(system)}: variant {' and '.join(sorted(names))}" for system, names in variants.items()
    )


def _spread(table: Comparison, some: Result) -> str:
    seeds = some.metrics.seeds
    if table.spread == "cohorts":
        return f"Mean ± standard deviation over {NUM_COHORTS} disjoint random groups of users, seed {seeds[0]}."
    if len(seeds) == 1:
        return f"One seed ({seeds[0]}), so no ±."
    return f"Mean ± standard deviation over {len(seeds)} seeds ({seeds[0]} to {seeds[-1]})."


def _size(block: Block) -> str:
    metrics = next(iter(block.results.values())).metrics
    return f"{block.data}: {metrics.users:,} test users, {metrics.items:,} items"


def p_values_line(table: Comparison, block: Block) -> str:
    """Return the adjusted p-values of the best system against each other one; empty if none was tested."""
    if not block.best:
        return ""
    values = ", ".join(
        f"{system_title(system)} {'< 0.001' if p < 0.001 else f'{p:.3f}'}" for system, p in block.p_values.items()
    )
    return f"Adjusted p, {table.tested}, {system_title(block.best)} against: {values}"


def markdown(table: Comparison) -> str:
    """Return the table as Markdown: a heading and a table per data set, at most 140 columns wide."""
    parts = ["# Table 2", *caption(table)]
    for block in table.blocks:
        rows = [["", *(system_title(system) for system in table.systems)]]
        rows += [[row, *(_markdown_cell(block, row, system) for system in table.systems)] for row in ROWS]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [" | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
        rule = " | ".join("-" * (width - 1) + ":" if n else "-" * width for n, width in enumerate(widths))
        parts += [f"## {block.data}", "\n".join(f"| {line} |" for line in [lines[0], rule, *lines[1:]])]
        if line := p_values_line(table, block):
            parts.append(line)
    return "\n\n".join(parts) + "\n"


def _cell(block: Block, row: str, system: str) -> Cell | None:
    return block.cells[row].get(system)


def _markdown_cell(block: Block, row: str, system: str) -> str:
    cell = _cell(block, row, system)
    if cell is None:
        return NONE
    mean, std = cell.text(row)
    bold = f"**{mean}**" if cell.best else mean
    return bold + (f" ± {std}" if std else "") + (MARK if cell.marked else "")


def latex_escape(text: str) -> str:
    """Return text escaped for LaTeX."""
    return re.sub("|".join(map(re.escape, _LATEX)), lambda match: _LATEX[match[0]], text)


def latex(table: Comparison) -> str:
    r"""Return the table as LaTeX to be ``\input``; it needs no package, and uses the rules of booktabs if loaded."""
    body = []
    for block in table.blocks:
        body.append(r"\midrule")
        for number, row in enumerate(ROWS):
            cells = [_latex_cell(block, row, system) for system in table.systems]
            body.append(" & ".join([latex_escape(block.data) if number == 0 else "", row, *cells]) + r" \\")
    head = ["", "", *(latex_escape(system_title(system)) for system in table.systems)]
    return "\n".join(
        [
            *(rf"\providecommand{{\{rule}}}{{\hline}}" for rule in ("toprule", "midrule", "bottomrule")),
            r"\begin{table*}",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{latex_escape(' '.join(caption(table)))}}}",
            rf"\begin{{tabular}}{{ll{'r' * len(table.systems)}}}",
            r"\toprule",
            " & ".join(head) + r" \\",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table*}",
            "",
        ]
    )


def _latex_cell(block: Block, row: str, system: str) -> str:
    cell = _cell(block, row, system)
    if cell is None:
        return latex_escape(NONE)
    mean, std = cell.text(row)
    bold = rf"\textbf{{{mean}}}" if cell.best else mean
    return bold + (rf" $\pm$ {std}" if std else "") + (r"$^{\dagger}$" if cell.marked else "")


def frame(table: Comparison) -> pl.DataFrame:
    """Return a row per cell, unrounded; the first five columns are those of ``paper.csv``."""
    rows = []
    for block in table.blocks:
        for row, cells in block.cells.items():
            for system in (system for system in table.systems if system in cells):
                result, cell = block.results[system], cells[system]
                metrics = result.metrics
                rows.append(
                    {
                        "dataset": block.data, "metric": row, "model": system_title(system),
                        "mean": cell.mean, "std": cell.std, "best": cell.best, "significant": cell.marked,
                        "p_adjusted": cell.p_value, "k": result.k, "spread": table.spread, "seeds": len(metrics.seeds),
                        "protocol": metrics.protocol, "protocol_hash": metrics.protocol_hash, "data": metrics.data,
                        "users": metrics.users, "items": metrics.items, "train_seconds": train_seconds(result.folder),
                    }
                )  # fmt: skip
    return pl.DataFrame(rows, schema=_SCHEMA)


def write(table: Comparison, folder: Path) -> None:
    """Write ``table2.md``, ``table2.csv`` and ``table2.tex``, each completely or not at all."""
    for name, text in (("md", markdown(table)), ("csv", frame(table).write_csv()), ("tex", latex(table))):
        with files.atomic_file(folder / f"table2.{name}") as temporary:
            temporary.write_text(text, encoding="utf-8")


def print_comparison(table: Comparison, console: Console | None = None) -> None:
    """Print the table, with each spread below its mean, so that seven systems fit in 80 columns.

    The title of a block names split, users and items. A star marks a metric that the protocol defines in its own way.
    """
    console = console or Console(highlight=False)
    for block in table.blocks:
        title = f"{_size(block)}, K = {next(iter(block.results.values())).k}" if block.results else block.data
        shown = titled_table(title)
        for system in table.systems:
            shown.add_column(system_title(system), justify="right", no_wrap=True)
        for row in ROWS:
            shown.add_row(_marked(block, row), *(_terminal_cell(block, row, system) for system in table.systems))
        console.print(shown)
        if line := p_values_line(table, block):
            console.print(line)
    for sentence in caption(table):
        console.print(sentence)


def _marked(block: Block, row: str) -> str:
    """Return the name of a row, with a star where the protocol has its own definition of the metric."""
    own = any(row in ("MAP", "MRR") and result.metric(row) != ROWS[row] for result in block.results.values())
    return f"{row}*" if own else row


def _terminal_cell(block: Block, row: str, system: str) -> str:
    cell = _cell(block, row, system)
    if cell is None:
        return NONE
    mean, std = cell.text(row)
    mean = mean + (MARK if cell.marked else "")
    return (f"[bold]{mean}[/]" if cell.best else mean) + (f"\n± {std}" if std else "")
