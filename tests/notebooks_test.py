"""The notebooks run, with small settings; their outputs are kept and free of errors."""

import importlib.util
import json

import pytest
from command_line import ROOT, command

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.filterwarnings("default")  # of the kernel's client, no matter of ours
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    for package in ("ipykernel", "matplotlib", "nbclient"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is absent: it comes with the extra hlr_jax[notebooks]")
    done = command("notebooks.py", "--small", f"--names={path.stem}", f"--output={tmp_path}")
    assert done.returncode == 0, done.stderr
    cells = json.loads((tmp_path / path.name).read_text())["cells"]
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.get("outputs", [])) == (
        path.stem != "quickstart"
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_kept_and_clean(path):
    assert path.stat().st_size < 2**20
    notebook = json.loads(path.read_text())
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert not any(cell["metadata"] for cell in notebook["cells"])


def test_mistakes_are_one_line():
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    for arguments, message in [
        (["--small"], "pass --output=FOLDER"),
        (["--names=memory_key"], 'unknown notebook "memory_key" (did you mean "memory_keys"?)'),
    ]:
        done = command("notebooks.py", *arguments)
        assert done.returncode == 2, done.stdout
        assert done.stderr.startswith("error: ")
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
