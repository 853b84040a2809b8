"""Two real processes on this machine: train, checkpoint, go on with one, evaluate."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import hlr_jax
from hlr_jax.data.serialization import store_dataset

_JOB_PORTS = 2**16 - 2**12  # the first port that JAX takes for a job of a cluster
EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
SETTINGS = [
    f"--config={EXPERIMENTS / 'configs' / 'hlr.py'}:planted-61x53x900", "--config.model.embed_dim=6",
    "--config.model.num_memories=2", "--config.model.max_history=3", "--config.train.batch_size=64",
    "--config.eval.select_by=ndcg", "--config.eval.k=5", "--config.train.learning_rate=0.02",
]  # fmt: skip


def start(script, *arguments, devices=1, **variables):
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(devices), "JAX_PLATFORMS": "cpu"} | variables
    command = [sys.executable, str(EXPERIMENTS / script), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finish(*processes):
    """Return (status, stdout, stderr) of each; none outlives the test."""
    try:
        ended = [process.communicate(timeout=100) for process in processes]
    finally:
        for process in processes:
            process.kill()
    # The collectives of the CPU announce themselves, whoever asks, and two devices may break into each other's lines.
    spoken = [re.sub(r"(\[Gloo\]|\d+ is connected to).*\n", "", out) for out, _ in ended]
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


def two(script, *arguments, found=by_flags):
    """Run a command in two processes of two devices each that find each other, and return both ends."""
    port = free_port()
    each = [found(port, index) for index in range(2)]
    return finish(*(start(script, *arguments, "--distributed", *flags, devices=2, **around) for flags, around in each))


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_train_and_evaluate_and_one_goes_on_as_if_it_had_been_one_all_along(tmp_path):
    split, whole = (["--workdir", str(tmp_path / name)] for name in ("split", "whole"))
    mesh = ["--config.mesh.data=2", "--config.mesh.model=2"]
    first, second = two("train.py", *SETTINGS, *split, *mesh, "--config.train.num_epochs=1")
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert "epoch 1/1" in first[1]
    assert second[1] == ""  # one process speaks
    assert [line["epoch"] for line in lines(tmp_path / "split")] == [1]  # and writes
    by_two = json.loads((tmp_path / "split" / "eval" / "test.json").read_text())

    # The files are now those of two epochs, as the run itself says.
    config = tmp_path / "split" / "config.json"
    config.write_text(config.read_text().replace('"num_epochs": 1', '"num_epochs": 2'))
    (resumed,) = finish(start("train.py", *SETTINGS, *split, "--config.train.num_epochs=2"))
    assert resumed[0] == 0, resumed[2]
    assert "epoch 1/2" not in resumed[1]
    (alone,) = finish(start("train.py", *SETTINGS, *whole, "--config.train.num_epochs=2"))
    assert alone[0] == 0, alone[2]
    for name in ("train_loss", "valid_loss", "valid_ndcg@5"):
        losses = [[line[name] for line in lines(tmp_path / folder)] for folder in ("split", "whole")]
        np.testing.assert_allclose(*losses, rtol=2e-4, err_msg=name)
    figures = [json.loads((tmp_path / name / "eval" / "test.json").read_text()) for name in ("split", "whole")]
    assert figures[0]["ndcg@5"] == pytest.approx(figures[1]["ndcg@5"], rel=1e-6)
    assert by_two["users"] == figures[1]["users"]

    users = pl.read_parquet(tmp_path / "split" / "eval" / "per_user.parquet")
    ends = two("evaluate.py", *split, "--mesh_data=1", "--mesh_model=4", found=by_slurm)  # other padding
    assert [end[0] for end in ends] == [0, 0], ends
    assert "ndcg" in ends[0][1]
    assert ends[1][1] == ""
    again = pl.read_parquet(tmp_path / "split" / "eval" / "per_user.parquet")
    np.testing.assert_allclose(again["ndcg"], users["ndcg"], rtol=1e-6)


def test_a_process_reads_its_share_of_the_interactions(tmp_path):
    dataset = hlr_jax.load_dataset("planted-257x211x9000", log=lambda _: None)
    store_dataset(tmp_path / "dataset", dataset)
    port, script = free_port(), Path(__file__).parent / "reading.py"
    ends = finish(
        *(start(script, str(tmp_path / "dataset"), f"127.0.0.1:{port}", str(index), devices=2) for index in range(2))
    )
    assert [end[0] for end in ends] == [0, 0], ends[0][2] + ends[1][2]
    first, second = (
        {column: {row for part in ranges for row in range(*part)} for column, ranges in json.loads(end[1]).items()}
        for end in ends
    )
    known = len(dataset.train) + len(dataset.valid)
    assert set(first) == {f"{file}.{side}" for file in ("interactions", "by_item") for side in ("user", "item")}
    for column in first:
        assert first[column] | second[column] == set(range(known)), column
        # Half, and what the ends of rows and the other cuts of positives add to it.
        assert max(len(first[column]), len(second[column])) < 0.6 * known, column


def test_a_mistake_is_told_once_and_ends_all_processes(tmp_path):
    ends = two("train.py", *SETTINGS, "--workdir", str(tmp_path / "run"), "--config.mesh.data=2", found=by_open_mpi)
    assert [end[0] for end in ends] == [2, 2]
    assert [end[2] for end in ends] == [
        "error: mesh.data x mesh.model is 2 x 1, but must take all 4 devices of the 2 processes\n", ""
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no SLURM, Open MPI or Kubernetes job was found around this process"),
        (["--coordinator_address=here"], "coordinator_address must be HOST:PORT"),
        (["--coordinator_address=127.0.0.1:9", "--num_processes=2", "--process_id=2"], "process_id must be in 0"),
    ],
)
def test_flags_that_find_no_processes_are_one_clear_line(given, message, tmp_path):
    (end,) = finish(start("train.py", *SETTINGS, "--workdir", str(tmp_path), "--distributed", *given))
    assert end[0] == 2
    assert end[2].startswith("error: ")
    assert message in end[2]
    assert end[2].count("\n") == 1
