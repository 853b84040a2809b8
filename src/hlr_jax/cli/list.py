"""List models, objectives, data sets, recipes or metrics by name.

hlr-jax list recipes
"""

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hlr_jax.errors import pick

Row = tuple[str, ...]


def main(what: str) -> None:
    """Show the names of a kind, with their meanings."""
    title, rows = LISTS[pick(what, LISTS, "list")]
    table = Table(*title, box=SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    for row in rows():
        table.add_row(*map(escape, row))
    Console(highlight=False).print(table)


def _models() -> Iterator[Row]:
    from hlr_jax.settings import describe
    from hlr_jax.systems import options_of, system_names, system_title

    for name in system_names():
        yield name, system_title(name), ", ".join(setting.name for setting in describe(options_of(name)))


def _objectives() -> Iterator[Row]:
    from hlr_jax.losses import OBJECTIVES
    from hlr_jax.objectives import READS
    from hlr_jax.training.item_losses import Square

    for name, objective in (*OBJECTIVES.items(), ("square", Square)):
        yield name, ", ".join(READS[name]), str(objective.__doc__).partition("\n")[0].removeprefix("Return ")


def _datasets() -> Iterator[Row]:
    from hlr_jax.data.sources import DATASETS

    for name, sources in DATASETS.items():
        first = sources[0]
        where = "your file: --config.dataset.path=FILE" if first.by_hand else urlsplit(first.url).netloc
        yield name, f"{first.threshold:g}", str(first.k_core), where


def _recipes() -> Iterator[Row]:
    from hlr_jax.configs.recipes import recipes

    alike: dict[Row, list[str]] = {}
    for recipe in recipes():
        alike.setdefault((recipe.data, recipe.meaning), []).append(recipe.name)
    for rest, names in sorted(alike.items(), key=lambda entry: "-" in entry[1][-1]):
        yield ", ".join(names), *rest


def _metrics() -> Iterator[Row]:
    from hlr_jax.evaluation.metrics import LOWER_IS_BETTER, MEANINGS

    for name, meaning in MEANINGS.items():
        yield name, "lower" if name in LOWER_IS_BETTER else "higher", meaning


LISTS: dict[str, tuple[Row, Callable[[], Iterator[Row]]]] = {
    "models": (("model.name", "model", "options (hlr-jax train --config=NAME --help)"), _models),
    "objectives": (("train.objective", "reads", "loss of a positive"), _objectives),
    "datasets": (("name", "ratings from", "k-core", "source"), _datasets),
    "recipes": (("--config=", "after the colon", "meaning"), _recipes),
    "metrics": (("name", "better", "meaning"), _metrics),
}
