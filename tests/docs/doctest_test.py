"""The examples of docstrings do what they show, and every public name has one."""

import doctest
import importlib
import inspect
import pkgutil
from contextlib import ExitStack

import pytest

import hlr_jax
from docs import examples

ALIASES = {"Logger", "Params", "Record"}  # of types, which have no docstring of their own


def doctests():
    """Return the docstrings with examples of all modules but the commands', whose flags exclude each other."""
    names = [found.name for found in pkgutil.walk_packages(hlr_jax.__path__, "hlr_jax.")]
    modules = [importlib.import_module(name) for name in names if not name.startswith(("hlr_jax.cli", "hlr_jax.__"))]
    return [test for module in modules for test in doctest.DocTestFinder().find(module) if test.examples]


@pytest.mark.parametrize("test", doctests(), ids=lambda test: test.name)
def test_examples_do_what_they_show(test, shown, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    test.globs.update(shown)
    output = []
    with ExitStack() as stack:
        for patch in examples.registries():
            stack.enter_context(patch)
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=output.append)
    assert not output, "".join(output)


@pytest.mark.parametrize("name", sorted(set(hlr_jax.__all__) - ALIASES))
def test_every_public_name_has_an_example(name):
    found = doctest.DocTestParser().get_examples(inspect.getdoc(getattr(hlr_jax, name)) or "")
    assert found
    assert not any(doctest.SKIP in example.options for example in found)


def test_an_example_that_shows_something_else_is_found(shown):
    (test,) = doctest.DocTestFinder().find(
        type("Wrong", (), {"__doc__": ">>> data.num_users\n61\n"}), globs=dict(shown)
    )
    output = []
    doctest.DocTestRunner().run(test, out=output.append)
    assert "Got:\n    60\n" in "".join(output)
