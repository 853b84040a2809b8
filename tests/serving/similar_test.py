import jax
import jax.numpy as jnp
import numpy as np
import oracles
import polars as pl
import pytest

import hlr_jax
from hlr_jax import InputError
from hlr_jax.serving.export import interaction_arrays
from hlr_jax.sharding import create_mesh, pad_rows, shardings


def made(world, name, **options):
    model = hlr_jax.create_model(name, embed_dim=6, **options)
    params = model.init(jax.random.key(4), world.num_users, world.num_items)
    return model, jax.tree.map(lambda array: 2 * array, params)


@pytest.fixture(scope="module")
def hlr(world):
    return made(world, "hlr", num_memories=3, max_history=4)


def by_hand(table, row, distance, k):
    """Order and distances of the other rows, from the definition, in float64."""
    others = [other for other in range(len(table)) if other != row]
    nearest = sorted((distance(table[row], table[other]), other) for other in others)[:k]
    return [other for _, other in nearest], [value for value, _ in nearest]


def euclidean(a, b):
    return np.sqrt(np.sum((a - b) ** 2))


def cosine(a, b):
    return 1 - a @ b / np.sqrt((a @ a) * (b @ b))


@pytest.mark.parametrize(("name", "distance"), [("cml", euclidean), ("mf_als", cosine)])
def test_neighbors_are_the_nearest_by_the_models_own_distance(world, name, distance):
    model, params = made(world, name)
    mesh = create_mesh(model=4)  # on which tables end in rows of padding, which are no neighbors
    padded = pad_rows(params, mesh)
    assert len(padded["item"]) == 52
    padded = jax.device_put(padded, shardings(padded, mesh))
    items = hlr_jax.similar_items(model, padded, world, [world.item_ids[8], world.item_ids[0]], k=5)
    users = hlr_jax.similar_users(model, params, world, [world.user_ids[3]], k=5)
    table = oracles.float64(params)
    for frame, ids, rows, row in ((items, world.item_ids, table["item"], 8), (users, world.user_ids, table["user"], 3)):
        near, distances = by_hand(rows, row, distance, 5)
        assert frame["similar"][:5].to_list() == ids.gather(near).to_list()
        np.testing.assert_allclose(frame["distance"][:5], distances, rtol=1e-4)
    assert items["rank"].to_list() == [1, 2, 3, 4, 5] * 2
    assert items["item"].to_list() == [world.item_ids[8]] * 5 + [world.item_ids[0]] * 5
    assert users.columns == ["user", "rank", "similar", "distance"]


def test_equally_near_items_keep_their_order_and_the_item_itself_stays_out(world):
    model, params = made(world, "cml")
    place = jnp.arange(world.num_items) // 10  # five places, ten items at each
    table = jnp.zeros_like(params["item"]).at[:, 0].set(place)
    frame = hlr_jax.similar_items(model, params | {"item": table}, world, [world.item_ids[12]], k=1000)
    assert frame.height == world.num_items - 1
    assert frame["similar"][:9].to_list() == world.item_ids.gather([10, 11, *range(13, 20)]).to_list()
    assert frame["distance"][:9].to_list() == [0] * 9
    assert frame["similar"][9:].to_list()[:20] == world.item_ids.gather([*range(10), *range(20, 30)]).to_list()


def test_items_are_named(world, tmp_path):
    """Ids that are text, one of them given without a list, and titles where the source has none."""
    path = tmp_path / "own.csv"
    pl.DataFrame({"user": ["a", "a", "b", "b"], "item": ["x", "y", "x", "z"]}).write_csv(path)
    own = hlr_jax.load_dataset(path=str(path), cache=False, log=lambda _: None)
    model, params = made(own, "cml")
    frame = hlr_jax.similar_items(model, params, own, "x")
    assert set(frame["similar"]) == {"y", "z"}
    assert frame["similar_title"].equals(frame["similar"].alias("similar_title"))
    assert hlr_jax.similar_users(model, params, own, "b")["similar"].to_list() == ["a"]
    assert hlr_jax.similar_items(model, params, own, []).is_empty()


def weights_of(frame):
    """The weights of an item's keys in the order of the keys."""
    return frame.sort("key")["weight"].to_numpy()


def test_keys_of_two_items_are_the_first_attention(hlr, world):
    params = oracles.float64(hlr[1])
    frame = hlr_jax.nearest_keys(*hlr, world, [world.item_ids[7]], other=world.item_ids[2], k=9)
    joint = params["item"][7] * params["item"][2]
    expected = oracles.softmax(params["keys"] @ joint)
    np.testing.assert_allclose(weights_of(frame), expected, rtol=1e-5)
    assert frame["weight"].is_sorted(descending=True)
    assert frame["rank"].to_list() == [1, 2, 3]


@pytest.mark.parametrize("name", ["hlr", "lrml"])
def test_keys_of_a_user_and_an_item_make_the_relation(world, name):
    model, params = made(world, name, num_memories=3, **({"max_history": 4} if name == "hlr" else {}))
    frame = hlr_jax.nearest_keys(model, params, world, [world.item_ids[7]], user=world.user_ids[5], k=3, seed=2)
    arrays = {name: np.asarray(array) for name, array in params.items()}
    history = interaction_arrays(model, arrays, world, 2)["history"][5]
    _, relation = getattr(oracles, name)(oracles.float64(params), 5, 7, history, [])
    assert frame["weight"].sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(weights_of(frame) @ arrays["memories"], relation, rtol=1e-4, atol=1e-6)


def test_keys_of_an_item_are_averaged_over_the_other_items_of_its_users(hlr, world):
    params = oracles.float64(hlr[1])
    known = {(int(u), int(i)) for part in (world.train, world.valid) for u, i in zip(part.user, part.item, strict=True)}
    pairs = [
        oracles.softmax(params["keys"] @ (params["item"][7] * params["item"][other]))
        for user, item in known
        if item == 7
        for who, other in known
        if who == user and other != 7
    ]
    frame = hlr_jax.nearest_keys(*hlr, world, [world.item_ids[7], world.item_ids[9]])
    np.testing.assert_allclose(weights_of(frame[:3]), np.mean(pairs, axis=0), rtol=1e-4)
    assert frame["item"].to_list() == [world.item_ids[7]] * 3 + [world.item_ids[9]] * 3


def test_mistakes_are_one_line(hlr, world):
    cml, lrml, item, user = made(world, "cml"), made(world, "lrml"), world.item_ids[0], world.user_ids[0]
    with pytest.raises(InputError, match='1 of 2 items are unknown, such as "none"'):
        hlr_jax.similar_items(*cml, world, [item, "none"])
    with pytest.raises(InputError, match='1 of 1 users are unknown, such as "none"'):
        hlr_jax.similar_users(*cml, world, ["none"])
    with pytest.raises(InputError, match=r"similar\.k must be at least 1, got 0"):
        hlr_jax.similar_items(*cml, world, [item], k=0)
    with pytest.raises(InputError, match="model cml has no keys"):
        hlr_jax.nearest_keys(*cml, world, [item])
    with pytest.raises(InputError, match="model lrml addresses its keys by pairs of user and item; pass a user too"):
        hlr_jax.nearest_keys(*lrml, world, [item])
    with pytest.raises(InputError, match="another item or a user, not both"):
        hlr_jax.nearest_keys(*hlr, world, [item], other=item, user=user)
    with pytest.raises(InputError, match='1 of 1 items are unknown, such as "none"'):
        hlr_jax.nearest_keys(*hlr, world, [item], other="none")
