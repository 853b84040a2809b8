"""The computations behind the experiments on the relation."""

import numpy as np
import pytest
from command_line import scripts
from scipy.sparse import csr_array


@pytest.fixture
def users():
    with scripts():
        import relation_users
    return relation_users


@pytest.fixture
def room():
    with scripts():
        import relation_room
    return relation_room


@pytest.fixture
def planted():
    with scripts():
        import relation_planted
    return relation_planted


@pytest.mark.parametrize("way", ["free", "cross", "als"])
def test_users_are_ridge_solutions_of_what_they_have_seen(users, way):
    rng = np.random.default_rng(3)
    items, half, c = rng.normal(size=(5, 3)), np.array([True, False, True, True, False]), 7.0
    gram = items.T @ items + 2 * np.eye(3)
    vectors, whole = users._solved(gram, items, c, way, half)

    def ridge(seen):
        # The weighted least squares of Hu et al. 2008, eq. 4, for a user of these items.
        return np.linalg.solve(gram + (c - 1) * items[seen].T @ items[seen], c * items[seen].sum(axis=0))

    everything = np.arange(5)
    seen = {
        "free": [everything] * 5,
        "cross": [everything[half != half[place]] for place in everything],
        "als": [everything[everything != place] for place in everything],
    }[way]
    np.testing.assert_allclose(vectors, [ridge(each) for each in seen], rtol=1e-9)
    np.testing.assert_allclose(whole, ridge(everything), rtol=1e-9)


def test_best_matches_are_summed_before_they_are_standardized(room):
    table = np.array([[0, 3, 1], [2, 0, 1], [5, 1, 0]], np.float32)  # what each item says about each candidate
    one, three, _, everything = room._best_sums(csr_array(np.array([[1, 1, 0], [1, 1, 1]])), table)

    def standard(sums):
        return (np.array(sums) - np.mean(sums)) / np.std(sums)

    np.testing.assert_allclose(one, [standard([2, 3, 1]), standard([5, 3, 1])], rtol=1e-5)
    np.testing.assert_allclose(three, [standard([2, 3, 2]), standard([7, 4, 2])], rtol=1e-5)
    np.testing.assert_allclose(three, everything, rtol=1e-6)


def test_planted_items_share_the_value_of_their_source(planted):
    data = planted.sample_data(1, users=50, num_items=60, num_values=12)
    assert all(len(set(row)) == len(row) for row in data.items.tolist())
    user, place = np.nonzero(data.source >= 0)
    assert (place >= 4).all()
    assert len(place) == 50 * 5
    values = data.facet[data.follows[user]]
    pair = np.arange(len(user))
    assert (values[pair, data.items[user, place]] == values[pair, data.source[user, place]]).all()


def test_mutual_information_by_hand(planted):
    a, b = np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0])
    assert planted._mutual_information(a, b) == pytest.approx(1)
    assert planted._mutual_information(a, np.array([0, 1, 0, 1])) == pytest.approx(0)
    # b splits one half of a: I = log 2, H(a) = log 2, H(b) = 1.5 log 2.
    assert planted._mutual_information(a, np.array([0, 0, 1, 2])) == pytest.approx(2 / 2.5)
