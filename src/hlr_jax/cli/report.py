"""Write one self-contained HTML page about runs: the best one, metrics, sample users, exposure, keys, curves.

hlr-jax report --workdir=runs/hlr,runs/cml --output=report.html

Runs with the same data, protocol and K are compared. Other runs are in separate groups.
"""

from absl import flags

_WORKDIR = flags.DEFINE_list("workdir", None, "folders of the runs", required=True)
_OUTPUT = flags.DEFINE_string("output", "report.html", "file of the page")


def main() -> None:
    """Run the command."""
    from hlr_jax.report.page import write_report

    path = write_report(_WORKDIR.value, _OUTPUT.value, log=lambda line: print(line, flush=True))
    print(f"{path}: {path.stat().st_size / 1024:,.0f} KiB")
