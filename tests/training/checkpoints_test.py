"""Checkpoints: what is written on some devices comes back on others, and nothing else does."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from jax.sharding import NamedSharding, PartitionSpec
from safetensors.numpy import load_file

from hlr_jax.errors import InputError
from hlr_jax.provenance import hash_of
from hlr_jax.sharding import create_mesh
from hlr_jax.training.checkpoints import Checkpoints

RUN = {"seed": 0, "learning_rate": 0.1, "margin": 1.0, "temperature": 1.0}
RUNS = [{"run": RUN, "best_epoch": 1, "best_value": 0.5, "failed": "", "pruned": "", "epoch": 1}]
IDENTITY = {"run": "a", "jax": None}


@struct.dataclass
class State:
    params: dict
    count: jax.Array


def state(rows=6):
    table = np.zeros((2, rows, 3), np.float32)
    table[:, :6] = np.arange(36, dtype=np.float32).reshape(2, 6, 3)
    return State({"user": jnp.asarray(table), "half": jnp.asarray([1.5, -2.0], jnp.bfloat16)}, jnp.int32(7))


def on(tree, data, model):
    mesh = create_mesh(data, model)
    specs = State({"user": PartitionSpec(None, "model"), "half": PartitionSpec()}, PartitionSpec())
    return jax.tree.map(lambda leaf, spec: jax.device_put(leaf, NamedSharding(mesh, spec)), tree, specs)


def saved(folder, tree, epoch=1):
    Checkpoints(folder, IDENTITY).save(epoch, tree, {"epoch": epoch, "runs": RUNS})
    return Checkpoints(folder, IDENTITY)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (lambda: state(), lambda: state()),
        (lambda: on(state(), 2, 2), lambda: state()),
        (lambda: on(state(), 2, 3), lambda: on(state(), 3, 2)),
        (lambda: on(state(8), 1, 4), lambda: on(state(6), 1, 3)),  # rows of padding are cut off
        (lambda: on(state(6), 1, 3), lambda: on(state(8), 2, 4)),  # and added
    ],
)
def test_arrays_come_back_on_other_devices(tmp_path, written, read):
    like = read()
    found, record = saved(tmp_path, written()).restore(jax.tree.map(jnp.zeros_like, like))
    assert record == {"epoch": 1, "runs": RUNS}
    for there, here in zip(jax.tree.leaves(like), jax.tree.leaves(found), strict=True):
        assert (there.dtype, there.shape) == (here.dtype, here.shape)
        np.testing.assert_array_equal(there, here)
    arranged = Checkpoints(tmp_path, IDENTITY).restore(like)[0].params["user"]
    assert arranged.sharding.is_equivalent_to(like.params["user"].sharding, 3)


def test_the_files_are_plain_safetensors_with_a_piece_for_each_device_that_holds_rows(tmp_path):
    saved(tmp_path, on(state(), 2, 2))
    pieces = load_file(tmp_path / "1" / "arrays-0.safetensors")
    assert set(pieces) == {"params/user@0,0,0", "params/user@0,3,0", "params/half@0", "count@"}
    np.testing.assert_array_equal(pieces["params/user@0,3,0"], np.asarray(state().params["user"])[:, 3:])
    assert pieces["params/half@0"].tolist() == [0x3FC0, 0xC000]  # the bits of bfloat16


def test_any_flipped_bit_of_the_arrays_is_found_or_is_of_no_array(tmp_path):
    checkpoints = saved(tmp_path, state())
    path = tmp_path / "1" / "arrays-0.safetensors"
    data = path.read_bytes()
    again = f"{path}: damaged, .*; delete {tmp_path} and run the command that trained it again"
    start = 8 + int.from_bytes(data[:8], "little")
    for place in range(0, len(data), 3):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
        if place >= start:  # the header before also holds what nothing reads
            with pytest.raises(InputError, match=again):
                checkpoints.restore(state())
            continue
        with contextlib.suppress(InputError):
            found = checkpoints.restore(state())[0]
            np.testing.assert_array_equal(found.params["user"], state().params["user"])
    path.unlink()
    with pytest.raises(InputError, match=r"arrays-0\.safetensors: no such file; delete"):
        checkpoints.restore(state())


def test_the_epoch_before_is_offered_and_taken_once_the_damaged_one_is_gone(tmp_path):
    for epoch in (1, 2, 3):
        checkpoints = saved(tmp_path, state().replace(count=jnp.int32(epoch)), epoch)
    assert checkpoints.epochs() == [2, 3]  # the last two are kept
    hashed = hash_of(tmp_path)
    (tmp_path / "3" / "arrays-0.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"delete .*/3, and training continues from checkpoint 2$"):
        checkpoints.restore(state())
    (tmp_path / "3" / "arrays-0.safetensors").unlink()
    (tmp_path / "3" / "record.json").unlink()
    (tmp_path / "3").rmdir()
    assert int(checkpoints.restore(state())[0].count) == 2
    assert hash_of(tmp_path) != hashed


def test_a_write_that_fails_leaves_the_checkpoint_before_and_nothing_else(tmp_path, monkeypatch):
    checkpoints = saved(tmp_path, state())

    def full(*arguments):
        raise OSError(28, "No space left on device", str(tmp_path))

    monkeypatch.setattr("hlr_jax.training.checkpoints.write_pieces", full)
    with pytest.raises(OSError, match="No space left"):
        saved(tmp_path, state(), 2)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    assert checkpoints.latest() == 1


@pytest.mark.parametrize(
    ("like", "reason"),
    [
        (lambda: {"params": {"user": jnp.zeros((2, 6, 3))}}, "count is not in both"),
        (lambda: State({"user": jnp.zeros((2, 6, 4)), "half": state().params["half"]}, jnp.int32(0)), None),
        (lambda: State({"user": jnp.zeros((2, 9, 4)), "half": state().params["half"]}, jnp.int32(0)), "user is .2, 6"),
        (lambda: State({"user": jnp.zeros((2, 6, 3)), "half": jnp.zeros(2)}, jnp.int32(0)), "half is .2. of bfloat16"),
    ],
)
def test_arrays_of_another_model_are_refused(tmp_path, like, reason):
    checkpoints = saved(tmp_path, state())
    if reason is None:
        checkpoints.restore(like())  # one axis may be longer: what it is of, the identity says
        return
    with pytest.raises(InputError, match=f"arrays of another model.*{reason}"):
        checkpoints.restore(like())


@pytest.mark.parametrize("name", ["lr=[0.1]", "a*b", "x?y", "ünï %41 {c,d}", "[!a]"])
def test_a_path_is_no_pattern(tmp_path, name):
    neighbors = [
        tmp_path / other / "checkpoints" for other in ("lr=0", "axb", "xzy", "b")
    ]  # a pattern would match them
    for neighbor in neighbors:
        saved(neighbor, state())
    folder = tmp_path / name / "checkpoints"
    for epoch in (2, 3):
        saved(folder, state().replace(count=jnp.int32(epoch)), epoch)
    assert int(Checkpoints(folder, IDENTITY).restore(state())[0].count) == 3
    (tmp_path / name).rename(tmp_path / "plain")
    assert Checkpoints(tmp_path / "plain" / "checkpoints", IDENTITY).epochs() == [2, 3]
    assert [Checkpoints(neighbor, IDENTITY).epochs() for neighbor in neighbors] == [[1]] * 4
