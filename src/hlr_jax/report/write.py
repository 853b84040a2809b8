"""A report from workdirs to a file."""

from collections.abc import Callable, Sequence
from pathlib import Path

from hlr_jax.errors import InputError
from hlr_jax.files import atomic_file
from hlr_jax.report.facts.groups import collect
from hlr_jax.report.facts.runs import comparable_groups, read_runs
from hlr_jax.report.page.page import draw_page


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
    groups = [collect(group, log) for group in comparable_groups(read_runs(workdirs))]
    page = draw_page(groups)
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path
