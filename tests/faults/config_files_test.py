"""Config files of one's own that are wrong in any way: one line with the file, and the line where there is one."""

import pytest
from command_line import command

import hlr_jax
from hlr_jax.errors import InputError

HEAD = "from ml_collections import ConfigDict\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise ValueError('odd\\nreason')", ", line 2: ValueError: odd reason"),
        ("def get_config(:\n    pass", ", line 2: SyntaxError: invalid syntax"),
        ("def get_config():\n    return 1 / 0", ", line 3: ZeroDivisionError: division by zero"),
        ("def get_config():\n    return {}['x']", ", line 3: KeyError: 'x'"),
        ("import sys\nsys.exit(3)", ", line 3: SystemExit: 3"),
        ("def get_config():\n    return get_config()", ", line 3: RecursionError: maximum recursion"),
        ("import no_such_module", ", line 2: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def get_config():\n    return {'model': {'name': 'cml'}}", ": get_config must return a ConfigDict, not dict"),
        ("def get_config():\n    return 7", ": get_config must return a ConfigDict, not int"),
        ("get_config = 7", " has no function get_config"),
        ("def get_config():\n    return ConfigDict({'model': 3})", ": model must be a ConfigDict of settings, not int"),
        ("def get_config():\n    return ConfigDict({'model': {'name': 7}})", ": model.name must be text, not int"),
        ("def get_config(a, b, c):\n    return 1", ": TypeError: get_config() missing 3 required positional arguments"),
    ],
)
def test_a_wrong_config_file_is_one_line(text, message, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(HEAD + text)
    done = command("train", f"--config={path}", f"--workdir={tmp_path}/run")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert done.stderr.startswith(f"error: {path}{message}")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", [b"\x00\x01", b"\xff\xfe\xfa", b"x" * 10**6])
def test_junk_is_no_config_file(content, tmp_path):
    path = tmp_path / "own.py"
    path.write_bytes(content)
    done = command("train", f"--config={path}", f"--workdir={tmp_path}/run")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert done.stderr.startswith(f"error: {path}")
    assert len(done.stderr) < 600


def test_sections_that_are_none_are_refused():
    for config, message in (
        ({"model": 3}, "model is a section of settings, not int"),
        ({"model": {"name": "cml"}, "train": [1]}, "train is a section of settings, not list"),
        ({"model": {"name": 7}}, "model.name must be text, not int"),
        ({"model": {"name": ["cml"]}}, "model.name must be text, not list"),
    ):
        with pytest.raises(InputError, match=message):
            hlr_jax.run(config, None)


def test_a_config_that_is_nested_too_deeply():
    config = {}
    for _ in range(100_000):
        config = {"model": config}
    with pytest.raises(InputError, match="nested too deeply"):
        hlr_jax.run(config, None)
    while config:  # taken apart from the outside, or Python's own deallocation goes as deep
        config = config["model"]
