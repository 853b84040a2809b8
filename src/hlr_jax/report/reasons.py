"""Whether reasons are true: the figures that ``hlr-jax evaluate --reasons`` has left in workdirs."""

from collections.abc import Sequence

from hlr_jax.report import drawing
from hlr_jax.report.drawing import Child, element, soft
from hlr_jax.report.runs import TrainedRun


def reason_tables(runs: Sequence[TrainedRun]) -> list[Child]:
    """Return how true the reasons of each run are, of those that have been measured."""
    measured = [(run.label, run.reasons.rows()) for run in runs if run.reasons is not None]
    if not measured:
        return [element("p", "Not measured: run hlr-jax evaluate --workdir=WORKDIR --reasons.")]
    text = (
        "Whether reasons are true: an item is taken out of a user's history, and the whole system scores the user's "
        "list again. Drops are in standard deviations of the user's scores; of the first seed, over a random sample of "
        "users."
    )
    rows: dict[str, list[Child]] = {
        words: [of_run[place][1] for _, of_run in measured] for place, (words, _) in enumerate(measured[0][1])
    }
    return [soft(text), drawing.table("What lists lose without an item of the history", [m[0] for m in measured], rows)]
