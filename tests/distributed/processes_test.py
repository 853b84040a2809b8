"""Two real processes on this machine: train, checkpoint, evaluate; and one that goes on with what they have left."""

import json
import os
import re
import socket
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from command_line import command, shell
from fabricated import metric_of

_JOB_PORTS = 2**16 - 2**12  # the first port that JAX takes for a job of a cluster
SETTINGS = [
    "--config=hlr-paper:planted-61x53x350", "--config.model.embed_dim=6",
    "--config.model.num_memories=2", "--config.model.max_history=3", "--config.train.batch_size=64",
    "--config.eval.monitor=ndcg", "--config.eval.k=5", "--config.train.learning_rate=0.02",
]  # fmt: skip


def start(program, *arguments, **variables):
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "2", "JAX_PLATFORMS": "cpu"} | variables
    words = [sys.executable, "-m", "hlr_jax", program, *arguments]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finish(*processes):
    """Return (status, stdout, stderr) of each; none outlives the test."""
    try:
        ended = [process.communicate(timeout=200) for process in processes]
    finally:
        for process in processes:
            process.kill()
    # The collectives of the CPU announce themselves, whoever asks, and two devices may break into each other's lines.
    words = r"(\[Gloo\]|\d+ is connected to|\d+ peer ranks|Expected number of connected).*\n"
    spoken = [re.sub(words, "", out) for out, _ in ended]
    return [(process.returncode, out, end[1]) for process, out, end in zip(processes, spoken, ended, strict=True)]


def by_flags(port, index):
    return [f"--coordinator_address=127.0.0.1:{port}", "--num_processes=2", f"--process_id={index}"], {}


def by_slurm(port, index):
    """What srun sets; JAX takes the port from the number of the job."""
    job = {"SLURM_JOB_ID": str(port - _JOB_PORTS), "SLURM_STEP_NODELIST": "127.0.0.1", "SLURM_NTASKS": "2"}
    return [], job | {"SLURM_PROCID": str(index), "SLURM_LOCALID": str(index)}


def by_open_mpi(port, index):
    """What mpirun sets; JAX takes the port from the job, a multiple of 2^12."""
    of_job = {"OMPI_MCA_orte_hnp_uri": f"{(port - _JOB_PORTS) << 12}.0;tcp://127.0.0.1:1", "OMPI_COMM_WORLD_SIZE": "2"}
    return [], of_job | {"OMPI_COMM_WORLD_RANK": str(index), "OMPI_COMM_WORLD_LOCAL_RANK": str(index)}


def free_port():
    """Return a free port among those that JAX gives to jobs of a cluster."""
    for port in range(_JOB_PORTS + os.getpid() % 2048, 2**16):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port")


def two(script, *arguments, known_by=by_flags):
    """Run a command in two processes of two devices each that find each other, and return both ends."""
    port = free_port()
    each = [known_by(port, index) for index in range(2)]
    return finish(*(start(script, *arguments, "--distributed", *flags, **around) for flags, around in each))


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_train_and_evaluate_and_one_goes_on_as_if_it_had_been_one_all_along(tmp_path):
    split, whole = (["--workdir", str(tmp_path / name)] for name in ("sp[l]it", "whole"))
    mesh = ["--config.mesh.data=2", "--config.mesh.model=2"]
    first, second = two("train", *SETTINGS, *split, *mesh, "--config.train.num_epochs=1")
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert "hlr 1/1" in first[1]
    assert second[1] == ""  # one process speaks
    assert [line["epoch"] for line in lines(tmp_path / "sp[l]it")] == [1]  # and writes
    by_two = json.loads((tmp_path / "sp[l]it" / "eval" / "test.json").read_text())

    resumed, alone = (command("train", *SETTINGS, *folder, "--config.train.num_epochs=2") for folder in (split, whole))
    assert (resumed.returncode, alone.returncode) == (0, 0), resumed.stderr + alone.stderr
    assert ("hlr 1/2" in resumed.stdout, "hlr 1/2" in alone.stdout) == (False, True)
    for name in ("train_loss", "valid_loss", "valid_ndcg@5"):
        losses = [[line[name] for line in lines(tmp_path / folder)] for folder in ("sp[l]it", "whole")]
        np.testing.assert_allclose(*losses, rtol=2e-4, err_msg=name)
    metrics = [json.loads((tmp_path / name / "eval" / "test.json").read_text()) for name in ("sp[l]it", "whole")]
    assert metric_of(metrics[0], "ndcg")["value"] == pytest.approx(metric_of(metrics[1], "ndcg")["value"], rel=1e-6)
    assert by_two["users"] == metrics[1]["users"]

    users = pl.read_parquet(tmp_path / "sp[l]it" / "eval" / "per_user.parquet", glob=False)
    ends = two("evaluate", *split, "--mesh_data=1", "--mesh_model=4", known_by=by_slurm)  # other padding
    assert [end[0] for end in ends] == [0, 0], ends
    assert "ndcg" in ends[0][1]
    assert ends[1][1] == ""
    again = pl.read_parquet(tmp_path / "sp[l]it" / "eval" / "per_user.parquet", glob=False)
    np.testing.assert_allclose(again["ndcg"], users["ndcg"], rtol=1e-6)


def test_a_mistake_is_told_once_and_ends_all_processes(tmp_path):
    ends = two("train", *SETTINGS, "--workdir", str(tmp_path / "run"), "--config.mesh.data=2", known_by=by_open_mpi)
    assert [end[0] for end in ends] == [2, 2]
    assert [end[2] for end in ends] == [
        "error: mesh.data x mesh.model is 2 x 1, but must take all 4 devices of the 2 processes\n", ""
    ]  # fmt: skip


NO_JOB = "error: no SLURM, Open MPI or Kubernetes job was found around this process; pass --coordinator_address="


def test_no_job_around_a_process_is_one_clear_line(tmp_path):
    done = shell("train", *SETTINGS, "--workdir", tmp_path, "--distributed")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(NO_JOB)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--coordinator_address=here"], "coordinator_address must be HOST:PORT"),
        (["--coordinator_address=127.0.0.1:9", "--num_processes=2", "--process_id=2"], "process_id must be in 0"),
        (["--coordinator_address=127.0.0.1:9", "--num_processes=0"], "num_processes must be at least 1, got 0"),
    ],
)
def test_flags_that_find_no_processes_are_one_clear_line(given, message, tmp_path):
    done = command("train", *SETTINGS, "--workdir", tmp_path, "--distributed", *given)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"error: {message}")
