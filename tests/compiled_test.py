"""Programs that one command compiles serve the next: in a private folder of bounded size, or not at all."""

import os
import subprocess
import sys

import pytest
from absl import flags

from hlr_jax.cli.support import compiled

COMMAND = """
import sys
from hlr_jax.cli.support.launch import launch

def main():
    import jax
    hits = []
    jax.monitoring.register_event_listener(lambda event, **_: hits.append(event) if event.endswith("hits") else None)
    jax.jit(lambda x: x * 3 + 1)(2.0)
    print(len(hits) > 0, jax.config.jax_compilation_cache_dir)

launch(main)
"""


def run(folder, *words, **environment):
    unset = [name for name in os.environ if name.startswith("JAX_") and "CACHE" in name]
    given = {name: value for name, value in os.environ.items() if name not in unset}
    given |= {"XDG_CACHE_HOME": str(folder)} | environment
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words], env=given, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_the_next_command_finds_what_was_compiled(tmp_path):
    first, second = run(tmp_path), run(tmp_path)
    assert (first[0], second[0]) == ("False", "True")
    folder = tmp_path / "hlr_jax" / "compiled"
    assert first[1] == second[1] == str(next(folder.iterdir()))
    assert next(folder.iterdir()).stat().st_mode & 0o077 == 0
    # A file that was cut short is no program: it is compiled anew, without a word.
    for file in folder.rglob("*-cache"):
        file.write_bytes(file.read_bytes()[:100])
    assert run(tmp_path)[0] == "False"


def test_nothing_is_kept_where_nobody_wants_it_or_nothing_can_be_written(tmp_path):
    assert run(tmp_path, "--nocompilation_cache") == ["False", "None"]
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "hlr_jax").write_text("a file in the place of the folder")
    assert run(tmp_path) == ["False", "None"]


def test_the_environment_comes_first(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "chosen")
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    compiled.keep_compiled()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "chosen"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("most", "left"), [(30, "abc"), (29, "bc"), (10, "c"), (0, "")])
def test_the_least_recently_used_go_first(most, left, tmp_path):
    for age, name in enumerate("cba"):
        file = tmp_path / name / f"{name}-cache"
        file.parent.mkdir()
        file.write_bytes(bytes(10))
        os.utime(file, (1e9 - age, 1e9 - age))
    compiled._make_room(tmp_path, most)
    assert sorted(file.name[0] for file in tmp_path.rglob("*-cache")) == list(left)
