"""What a protocol decides, seen in metrics."""

import dataclasses

import jax
import numpy as np
import pytest

import hlr_jax
from hlr_jax.evaluation.evaluate import evaluate, interactions_at
from hlr_jax.protocols import PROTOCOLS, protocol_for
from hlr_jax.ranking.inputs import ranking_inputs
from hlr_jax.ranking.rank import rank


def test_every_field_but_those_of_the_split_is_in_the_hash():
    first = PROTOCOLS["reference"]
    changed = {name: first._replace(**{name: value}) for name, value in PROTOCOLS["paper"]._asdict().items()}
    hashes = {name: other.hash for name, other in changed.items() if getattr(first, name) != getattr(other, name)}
    assert set(changed) - set(hashes) == {"split"}  # all others differ between the two
    of_split = {hashes.pop("test_size"), hashes.pop("valid_size"), protocol_for("reference", "given").hash}
    assert of_split == {first.hash}
    assert len({*hashes.values(), first.hash}) == len(hashes) + 1


def test_a_split_without_sizes_has_a_protocol_without_sizes():
    given = protocol_for("paper", "given")
    assert (given.test_size, given.valid_size, given.mrr) == (0.0, 0.0, "mrr")
    with pytest.raises(hlr_jax.InputError, match=r'unknown dataset\.protocol "papers"'):
        protocol_for("papers", "given")


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("system", ["hlr", "mf_als"])
def test_neighbors_and_masks_are_what_the_protocol_says(world, name, system):
    options = {"max_history": 4, "num_memories": 3} if system == "hlr" else {}
    model = hlr_jax.create_model(system, embed_dim=6, **options)
    params = model.init(jax.random.key(0), world.num_users, world.num_items)
    dataset = dataclasses.replace(world, protocol=protocol_for(name, "random"))
    result = evaluate(model, params, dataset)
    assert result.metrics.protocol == name
    assert result.metrics.names["MRR"] == {"paper": "mrr", "reference": "rr_sum"}[name]
    both, train = interactions_at(world, "test"), world.train
    seen = train if (name, system) == ("reference", "mf_als") else both
    near = train if name == "paper" else both
    users = np.unique(world.test.user)
    inputs = ranking_inputs(model, seen, near, (world.num_users, world.num_items))
    expected = rank(model, params, users, inputs, 10)
    np.testing.assert_array_equal(result.ranking.items, expected.items)
    validation = set(zip(world.valid.user.tolist(), world.valid.item.tolist(), strict=True))
    listed = {(int(user), int(item)) for user, row in zip(users, result.ranking.items, strict=True) for item in row}
    assert bool(listed & validation) == (seen is train)
