import atexit
import gc
import os
import platform
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
import pytest

import hlr_jax


def folder_of_the_process(prefix):
    """Return a temporary folder that is deleted when this process ends."""
    folder, owner = tempfile.mkdtemp(prefix=prefix), os.getpid()
    # A forked child ends too, and the folder is not its own.
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(folder, ignore_errors=True))
    return folder


MIN_COMPILE_TIME = 0.1  # in seconds, of a program that is kept on disk
# The workers of pytest-xdist and the command lines that tests start inherit this environment.
if "PYTEST_XDIST_WORKER" not in os.environ:
    # Tests compile far longer than they compute: without LLVM's optimisations they take two thirds of the time.
    flags = ["--xla_backend_optimization_level=0"]
    if platform.machine() in ("x86_64", "AMD64"):
        # One piece of each program after the other is faster, too. Without optimisations, programs are right only for
        # vectors of 128 bits: wider ones make sums of the model in tests/own_model.py NaN.
        flags += ["--xla_cpu_parallel_codegen_split_count=1", "--xla_cpu_max_isa=SSE4_2"]
        if version("jaxlib").startswith("0.10."):
            # Loops that come from XLA alone, not from MLIR. Later XLAs do not know the flag, and end a process for it.
            flags += ["--xla_cpu_use_fusion_emitters=false"]
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *flags])
    # All share what they compile.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder_of_the_process("hlr_jax-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = str(MIN_COMPILE_TIME)
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_COMPILE_TIME)
# Nobody's own data are read or written: for fixtures, which come before `_own_cache`.
os.environ["HLR_JAX_DATA"] = folder_of_the_process("hlr_jax-tests-data-")
# Sharding is tested on virtual devices; this must be set before the first computation.
jax.config.update("jax_num_cpu_devices", 8)

# JAX makes many objects that live on, and each search for garbage would pass over all of them.
gc.set_threshold(50_000, 20, 100)

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


# The files that take longest, longest first, so that two workers end at about the same time.
LONGEST = [
    "mesh_test", "model_contract_test", "loop_test", "gradients_test", "processes_test", "experiments_test",
    "notebooks_test", "fold_in_test", "benchmark_test", "own_model_test", "refit_test", "report_test",
    "device_test", "export_test",
]  # fmt: skip


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def pytest_collection_finish():
    gc.freeze()


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
