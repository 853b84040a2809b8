"""The measured quality of reasons, as ``hlr-jax evaluate --reasons`` writes it to workdirs."""

from collections.abc import Sequence

from hlr_jax.report import drawing
from hlr_jax.report.drawing import Child, element, soft
from hlr_jax.report.runs import TrainedRun


def reason_tables(runs: Sequence[TrainedRun]) -> list[Child]:
    """Return the quality of the reasons of each run whose reasons were measured."""
    measured = [(run.label, run.reasons.rows()) for run in runs if run.reasons is not None]
    if not measured:
        return [
            element("p", "Not measured. Run ", element("code", "hlr-jax evaluate --workdir=WORKDIR --reasons"), ".")
        ]
    text = (
        "A reason is true if the recommended item loses score without it. Each item of a user's history is deleted in "
        "turn, and the whole system scores the user's list again. Drops are in standard deviations (SD) of the user's "
        "scores. Of the first seed, over a random sample of users."
    )
    rows: dict[str, list[Child]] = {
        words: [of_run[place][1] for _, of_run in measured] for place, (words, _) in enumerate(measured[0][1])
    }
    labels = [label for label, _ in measured]
    return [soft(text), drawing.table("Score lost when an item of the history is deleted", labels, rows, "numbers")]
