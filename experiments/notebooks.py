"""Execute notebooks, and keep their outputs without parts that differ between executions.

python experiments/notebooks.py [--names=quickstart,memory_keys] [--output=FOLDER] [--small]

Without --output the files in notebooks/ are replaced. With --small they run on small synthetic data sets in seconds, as
a check; do not keep such outputs.
"""

import importlib.util
import os
from pathlib import Path
from typing import Any

from absl import flags

from hlr_jax import InputError, errors, files
from hlr_jax.cli.support.launch import launch

_FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
_NAMES = flags.DEFINE_list("names", [], "names of notebooks, without .ipynb; all by default")
_OUTPUT = flags.DEFINE_string("output", None, "folder of the executed notebooks; notebooks/ by default")
_SMALL = flags.DEFINE_bool("small", False, "small settings; needs --output")
_SECONDS = flags.DEFINE_integer("timeout", 1800, "time limit of a cell in seconds")


def main() -> None:
    """Run the command."""
    known = {path.stem: path for path in sorted(_FOLDER.glob("*.ipynb"))}
    names = [errors.pick(name, known, "notebook") for name in _NAMES.value] or list(known)
    for package in ("nbclient", "ipykernel"):
        if importlib.util.find_spec(package) is None:
            raise InputError(f"{package} is absent; {errors.missing_extra('notebooks')}")
    if _SMALL.value and _OUTPUT.value is None:
        raise InputError("--small would replace the outputs in notebooks/; pass --output=FOLDER")
    if _SMALL.value:
        os.environ["HLR_JAX_NOTEBOOKS"] = "small"
    folder = _FOLDER if _OUTPUT.value is None else Path(_OUTPUT.value)
    for name in names:
        text = executed(known[name])
        with files.atomic_file(folder / f"{name}.ipynb") as temporary:
            temporary.write_text(text)
        print(f"{folder / name}.ipynb")


def executed(path: Path) -> str:
    """Return a notebook's text after all its cells ran, from its own folder.

    Raises:
      InputError: a cell failed; names it and its error.
    """
    import nbclient
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=_SECONDS.value,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--log-level=ERROR"],
    )
    try:
        client.execute()
    except nbclient.exceptions.CellExecutionError as problem:
        raise InputError(f"{path}: {_first_failure(notebook)}: {problem.ename}: {problem.evalue}") from None
    except nbclient.exceptions.CellTimeoutError:
        raise InputError(f"{path}: a cell took more than {_SECONDS.value} s; pass a larger --timeout") from None
    for cell in notebook.cells:
        cell.metadata.clear()
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}})
    return nbformat.writes(notebook) + "\n"


def _first_failure(notebook: Any) -> str:
    """Return which cell failed, counted from 1."""
    for number, cell in enumerate(notebook.cells, start=1):
        if any(output.output_type == "error" for output in cell.get("outputs", [])):
            return f"cell {number}"
    return "a cell"


if __name__ == "__main__":
    launch(main)
