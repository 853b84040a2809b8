import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from compilations import compilations

import hlr_jax
from hlr_jax import EvalOptions, InputError, TrainOptions
from hlr_jax.data.interactions import Interactions
from hlr_jax.training.als import _gram, factorize, iterate
from hlr_jax.training.result import run_identity
from hlr_jax.training.row_blocks import _shares, side_of, sides

USERS, ITEMS, DIM = 90, 80, 5
PLAIN = {"confidence": 5.0, "regularization": 3.0}
SETTINGS = {
    "all pairs weigh the same": {"confidence": 1.0, "regularization": 2.0},
    "observed pairs weigh more": PLAIN,
    "scaled by frequency": {**PLAIN, "frequency_exponent": 1.0},
}


def make(embed_dim=DIM, **options):
    return hlr_jax.create_model("mf_als", embed_dim=embed_dim, **options)


@pytest.fixture(autouse=True)
def several_shapes(monkeypatch):
    """Lets small data have chunks of several shapes, as large data has."""
    monkeypatch.setattr("hlr_jax.training.row_blocks._SAVED_CELLS", 0)


@pytest.fixture
def matrix(rng):
    """Rows of 0 to 50 interactions; user 3 and item 7 met nobody."""
    matrix = rng.random((USERS, ITEMS)) < np.linspace(0.02, 0.7, USERS)[:, None]
    matrix[3], matrix[:, 7] = False, False
    return matrix.astype(np.float64)


def pairs_of(matrix):
    user, item = np.nonzero(matrix)
    return Interactions(user.astype(np.int32), item.astype(np.int32))


def sides_of(matrix, loops=2):
    return sides(pairs_of(matrix), *matrix.shape, loops)


def start_of(model, matrix):
    return model.init(jax.random.key(3), *matrix.shape)


@pytest.mark.parametrize("rows", [6, 7, 21, 100])
def test_the_gram_matrix_does_not_depend_on_the_rows_multiplied_at_a_time(rng, monkeypatch, rows):
    monkeypatch.setattr("hlr_jax.training.als._GRAM_ROWS", 7)
    table = rng.normal(size=(rows, DIM)).astype(np.float32)
    np.testing.assert_allclose(_gram(table), table.T.astype(np.float64) @ table, rtol=1e-5, atol=1e-5)


def arguments(options):
    return options["confidence"], options["regularization"], options.get("frequency_exponent", 0.0)


def exact_iteration(matrix, start, numbers):
    user = oracles.als_side(matrix, start["item"], *numbers)
    return {"user": user, "item": oracles.als_side(matrix.T, user, *numbers)}


def stepped_iteration(matrix, start, numbers, steps):
    """The steps of textbook conjugate gradients (Hestenes and Stiefel 1952) on every row's full system, in float64."""

    def side(matrix, present, other):
        strength, rows = oracles.als_regularization(matrix, *numbers), []
        for x, p, row_strength in zip(matrix, present, strength, strict=True):
            weights = np.where(x > 0, numbers[0], 1.0)
            system = (other.T * weights) @ other + row_strength * np.eye(other.shape[1])
            residual = other.T @ (weights * x) - system @ p
            direction = residual
            for _ in range(steps if x.any() else 0):
                length = residual @ residual / (direction @ system @ direction)
                p, before = p + length * direction, residual @ residual
                residual = residual - length * (system @ direction)
                direction = residual + residual @ residual / before * direction
            rows.append(p if x.any() else np.zeros_like(p))
        return np.array(rows)

    user = side(matrix, start["user"], start["item"])
    return {"user": user, "item": side(matrix.T, start["item"], user)}


@pytest.mark.parametrize("case", SETTINGS)
@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_an_iteration_and_its_objective_match_the_equations(matrix, case, solver):
    model, numbers = make(**SETTINGS[case], solver=solver), arguments(SETTINGS[case])
    start = start_of(model, matrix)
    solved, value = iterate(model.solver, *sides_of(matrix), start)
    wide = oracles.float64(start)
    expected = exact_iteration(matrix, wide, numbers)
    if solver == "cg":
        stepped = stepped_iteration(matrix, wide, numbers, steps=3)
        assert np.abs(stepped["item"] - expected["item"]).max() > 1e-3  # three steps are not the solution
        expected = stepped
    for name in ("user", "item"):
        np.testing.assert_allclose(solved[name], expected[name], rtol=1e-3, atol=2e-5)
    assert not np.any(solved["user"][3])
    assert not np.any(solved["item"][7])
    factors = oracles.float64(solved)
    np.testing.assert_allclose(
        value, oracles.als_objective(matrix, factors["user"], factors["item"], *numbers), rtol=1e-5
    )


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_loops_side_by_side_give_the_factors_of_one(matrix, solver):
    model = make(**PLAIN, solver=solver)
    start = start_of(model, matrix)
    (alone, value), (together, same) = (iterate(model.solver, *sides_of(matrix, n), start) for n in (1, 3))
    for name in ("user", "item"):
        np.testing.assert_allclose(together[name], alone[name], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(same, value, rtol=1e-6)


def test_settings_of_a_search_share_one_program(matrix):
    both, start = sides_of(matrix), start_of(make(), matrix)
    iterate(make().solver, *both, start)
    with compilations() as made:
        for confidence, regularization, exponent in ((2.0, 1.0, 0.0), (7.0, 3.0, 1.0)):
            solver = make(confidence=confidence, regularization=regularization, frequency_exponent=exponent).solver
            iterate(solver, *both, start)
    assert not made


def test_models_that_differ_in_their_solver_alone_rank_with_one_program(matrix):
    weak, strong = (make(**PLAIN | {"regularization": value}) for value in (1.0, 7.0))
    assert weak != strong
    assert (weak.as_scored, hash(weak.as_scored)) == (strong.as_scored, hash(strong.as_scored))


@pytest.mark.parametrize("options", [{"solver": "cholesky"}, {}])
def test_the_objective_falls_with_every_iteration(matrix, options):
    model, world = make(**options, **PLAIN), sides_of(matrix)
    params, values = start_of(model, matrix), []
    for _ in range(5):
        params, value = iterate(model.solver, *world, params)
        values.append(value)
    assert (np.diff(values) < 0).all()


def test_factors_of_a_function_call_are_those_of_training(world):
    options = {"confidence": 3.0, "regularization": 1.0, "frequency_exponent": 0.5}
    trained = hlr_jax.train_model(
        world, make(**options), TrainOptions(num_epochs=2), EvalOptions(monitor="loss"), seed=4, quiet=True
    )
    params = factorize(make(**options), world.train, world.num_users, world.num_items, num_iterations=2, seed=4)
    assert trained.best_epoch == 2
    for name in ("user", "item"):
        np.testing.assert_allclose(params[name], trained.params[name], rtol=1e-5, atol=1e-6)


def decoded(side):
    """Return the pairs that the blocks of a side hold, and how many cells they take."""
    pairs, cells, (num_rows,) = [], 0, side.degrees.shape
    for group, loop in [(blocks, loop) for blocks in side.blocks for loop in range(len(blocks.rows))]:
        rows, start, met = (np.asarray(array[loop]) for array in (group.rows, group.start, group.met))
        met = met.reshape(len(met), rows.shape[1], -1)
        assert (met[start[-1] :] == side.num_others).all()
        for block, (first, last) in enumerate(itertools.pairwise(start)):
            cells += met[first:last].size
            pairs += [
                (row, other)
                for place, row in enumerate(rows[block])
                for other in met[first:last, place].reshape(-1).tolist()
                if other < side.num_others
            ]
    assert all(row < num_rows for row, _ in pairs)
    return pairs, cells


@pytest.mark.parametrize("loops", [1, 3])
def test_blocks_hold_every_pair_once_with_little_padding(rng, loops):
    """Popularity by Zipf's law: the longest row has 3,000, most have one."""
    degrees = np.maximum(3000 // np.arange(1, 2001), 1)
    met = [np.sort(rng.choice(4000, degree, replace=False)) for degree in degrees]
    row = np.repeat(np.arange(2000), degrees)
    pairs = Interactions(row.astype(np.int32), np.concatenate(met).astype(np.int32))
    side = side_of(pairs, 2003, 4000, loops)
    found, cells = decoded(side)
    assert sorted(found) == list(zip(pairs.user.tolist(), pairs.item.tolist(), strict=True))
    # The rows of one interaction take a chunk of eight.
    assert cells < 1.2 * np.sum(-(-degrees // 8) * 8)
    assert len(side.blocks) > 1
    assert all(len(blocks.rows) == loops for blocks in side.blocks)


def test_long_rows_get_wide_chunks_where_a_chunk_costs_its_launch(monkeypatch):
    """256 rows of 16 among short ones: four chunks of 4 columns, or one of 16, for each block of 8 rows."""
    degrees, shapes = np.repeat([16, 3], [256, 1000]), ((8, 4), (8, 16))
    assert [share.shape for share in _shares(degrees, shapes)] == [(8, 4)]
    by_launch = _shares(degrees, shapes, launch=64)
    assert [(share.shape, share.first, share.end) for share in by_launch] == [((8, 16), 0, 256), ((8, 4), 256, 1256)]
    monkeypatch.setattr("hlr_jax.training.row_blocks._SAVED_CELLS", 50_000)
    assert len(_shares(degrees, shapes, launch=64)) == 1  # too few cells are saved


@pytest.mark.filterwarnings("ignore")  # of its imports and of OpenBLAS's threads
@pytest.mark.parametrize("case", ["all pairs weigh the same", "observed pairs weigh more"])
def test_predictions_agree_with_the_package_implicit(matrix, case):
    als = pytest.importorskip("implicit.cpu.als")
    sparse = pytest.importorskip("scipy.sparse")
    confidence, regularization, _ = arguments(SETTINGS[case])
    model = make(**SETTINGS[case], solver="cholesky")
    params = start_of(model, matrix)
    other = als.AlternatingLeastSquares(
        factors=DIM, regularization=regularization, alpha=1.0, use_cg=False, num_threads=1, iterations=3
    )
    other.user_factors, other.item_factors = (np.array(params[name]) for name in ("user", "item"))
    other.fit(sparse.csr_matrix((confidence * matrix).astype(np.float32)), show_progress=False)
    for _ in range(3):
        params, _ = iterate(model.solver, *sides_of(matrix), params)
    ours, theirs = np.asarray(params["user"] @ params["item"].T), other.user_factors @ other.item_factors.T
    assert np.abs(ours - theirs).max() < 1e-3 * np.abs(theirs).max()
    assert np.linalg.norm(ours - theirs) < 1e-3 * np.linalg.norm(theirs)


def test_training_selects_by_ndcg_and_resumes_with_the_same_bits(world, tmp_path):
    model, by_ndcg = make(regularization=1.0, confidence=3.0), EvalOptions(monitor="ndcg", k=5)

    def fit(epochs, workdir=None, evaluation=by_ndcg):
        options = TrainOptions(num_epochs=epochs)
        return hlr_jax.train_model(world, model, options, evaluation, seed=3, workdir=workdir, quiet=True)

    whole = fit(3)
    values = [record["valid_ndcg@5"] for record in whole.history]
    assert whole.best_epoch == 1 + int(np.argmax(values))
    assert "valid_loss" not in whole.history[0]
    fit(2, tmp_path)
    continued = fit(3, tmp_path)
    for name in ("user", "item"):
        np.testing.assert_array_equal(whole.params[name], continued.params[name])
    assert fit(2, evaluation=EvalOptions()).best_epoch == 2


def test_the_settings_of_the_solver_are_part_of_the_run(world):
    changes = ({}, {"confidence": 2.0}, {"regularization": 2.0}, {"solver": "cholesky"}, {"cg_steps": 9})
    identities = [run_identity(world, make(**change), TrainOptions(), 0)["run"] for change in changes]
    assert len(set(identities)) == len(changes)


def test_mistakes_are_told(world):
    with pytest.raises(InputError, match=r"model\.regularization must be at least"):
        make(regularization=0.0)
    with pytest.raises(InputError, match=r'unknown model\.solver "choleski" \(did you mean "cholesky"'):
        make(solver="choleski")


def test_one_user_and_one_item():
    model = make(embed_dim=1, confidence=3.0, regularization=1.0, solver="cholesky")
    both = sides(Interactions(np.zeros(1, np.int32), np.zeros(1, np.int32)), 1, 1)
    solved, _ = iterate(model.solver, *both, {"user": jnp.zeros((1, 1)), "item": jnp.ones((1, 1))})
    np.testing.assert_allclose(solved["user"], 3 / 4)  # (1 + 2 + 1) p = 3
