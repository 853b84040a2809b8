import os
import tempfile
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
import pytest

import hlr_jax

# Tests compile far longer than they compute: without LLVM's optimisations they take two thirds of the time.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"
if version("jaxlib").startswith("0.10."):  # XLA ends a process for a flag that it does not know
    # One piece of each program after the other: less time of the CPU.
    os.environ["XLA_FLAGS"] += " --xla_cpu_parallel_codegen_split_count=1"
# Tests, and the command lines that they start, share what they compile.
os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="hlr_jax-tests-")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
# Nobody's own data are read or written: for fixtures, which come before `_own_cache`.
os.environ["HLR_JAX_DATA"] = tempfile.mkdtemp(prefix="hlr_jax-tests-data-")
# Sharding is tested on virtual devices; this must be set before the first computation.
jax.config.update("jax_num_cpu_devices", 8)

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HLR_JAX_DATA", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def world():
    """A small planted world: 60 users, 50 items."""
    return hlr_jax.load_dataset("planted-60x50x900", log=lambda _: None)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def shared_data():
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent: it holds the fixed splits of real data")
    return SHARED
