"""Write one self-contained HTML page about runs of any kind: metrics, curves, exposure, sample users.

hlr-jax report --workdir=runs/hlr,runs/cml --output=report.html

Runs of the same data and protocol share a table; others are shown separately.
"""

from absl import flags

_WORKDIR = flags.DEFINE_list("workdir", None, "folders of the runs", required=True)
_OUTPUT = flags.DEFINE_string("output", "report.html", "file of the page")


def main() -> None:
    """Run the command."""
    from hlr_jax.report.page import write_report

    path = write_report(_WORKDIR.value, _OUTPUT.value, log=lambda line: print(line, flush=True))
    print(f"{path}: {path.stat().st_size / 1024:,.0f} KiB")
