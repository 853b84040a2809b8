"""Checkpoints under any path: Orbax takes paths for patterns."""

import os

import jax.numpy as jnp
import numpy as np
import pytest

from hlr_jax import InputError
from hlr_jax.training.checkpoints import Checkpoints


def saved(folder, *values):
    """Save arrays of each value in turn."""
    with Checkpoints(folder, {"run": "one"}) as checkpoints:
        for step, value in enumerate(values, 1):
            checkpoints.save(step, {"a": jnp.full(3, value)}, {"value": value})


def kept(folder):
    """Return the step and the value of what is there."""
    with Checkpoints(folder, {"run": "one"}) as checkpoints:
        arrays, record = checkpoints.restore({"a": jnp.zeros(3)})
        assert (np.asarray(arrays["a"]) == record["value"]).all()
        return checkpoints.latest(), record["value"]


@pytest.mark.parametrize("name", ["lr=[0.1]", "a*b", "x?y", "ünï %41 {c,d}", "[!a]"])
def test_a_path_is_no_pattern(tmp_path, name):
    neighbors = tmp_path / "lr=0", tmp_path / "axb", tmp_path / "xzy", tmp_path / "b"  # that a pattern would match
    for neighbor in neighbors:
        saved(neighbor / "checkpoints", 1.0)
    folder = tmp_path / name / "checkpoints"
    saved(folder, 2.0)
    assert kept(folder) == (1, 2.0)
    with Checkpoints(folder, {"run": "one"}) as checkpoints:
        checkpoints.save(2, {"a": jnp.full(3, 3.0)}, {"value": 3.0})
    os.rename(tmp_path / name, tmp_path / "plain")
    assert kept(tmp_path / "plain" / "checkpoints") == (2, 3.0)
    assert [kept(neighbor / "checkpoints") for neighbor in neighbors] == [(1, 1.0)] * 4


def test_where_no_path_is_without_pattern_it_is_said_first(tmp_path, monkeypatch):
    aside = tmp_path / "t[1]"
    aside.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(aside))
    with pytest.raises(InputError, match=r"a\[b\]: checkpoints can't be kept under a path with \*, \? or \["):
        Checkpoints(tmp_path / "a[b]", {"run": "one"})
    assert list(aside.iterdir()) == []
