import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import hlr_jax
from hlr_jax import EvalOptions, InputError, TrainOptions
from hlr_jax.data.interactions import Interactions
from hlr_jax.sharding import create_mesh
from hlr_jax.training.als import iterate, objective, sides, solve_side
from hlr_jax.training.many_runs import create_learner
from hlr_jax.training.result import run_identity

USERS, ITEMS, DIM = 40, 80, 5
SETTINGS = {
    "one matrix for all": {"confidence": 1.0, "regularization": 2.0},
    "observed pairs weigh more": {"confidence": 5.0, "regularization": 3.0},
    "scaled by frequency": {"confidence": 5.0, "regularization": 3.0, "frequency_exponent": 1.0},
}


def make(embed_dim=DIM, **options):
    return hlr_jax.create_model("mf_als", embed_dim=embed_dim, **options)


@pytest.fixture
def matrix(rng):
    """CSR of several padded lengths; user 3 and item 7 met nobody."""
    matrix = rng.random((USERS, ITEMS)) < np.linspace(0.02, 0.7, USERS)[:, None]
    matrix[3], matrix[:, 7] = False, False
    return matrix.astype(np.float64)


@pytest.fixture
def small(matrix):
    """CSR of one padded length, quicker to compile."""
    return matrix[:, :30]


def sides_of(matrix):
    user, item = np.nonzero(matrix)
    return sides(Interactions(user.astype(np.int32), item.astype(np.int32)), *matrix.shape)


def start_of(model, matrix):
    return model.init(jax.random.key(3), *matrix.shape)


def arguments(options):
    return options["confidence"], options["regularization"], options.get("frequency_exponent", 0.0)


@pytest.mark.parametrize("case", SETTINGS)
def test_a_sweep_and_the_objective_match_the_oracle(matrix, case):
    model, numbers = make(**SETTINGS[case]), arguments(SETTINGS[case])
    start = start_of(model, matrix)
    solved = iterate(model.solver, *sides_of(matrix), start)
    user = oracles.als_side(matrix, np.asarray(start["item"], np.float64), *numbers)
    item = oracles.als_side(matrix.T, user, *numbers)
    np.testing.assert_allclose(solved["user"], user, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(solved["item"], item, rtol=1e-4, atol=1e-5)
    assert not np.any(solved["user"][3])
    assert not np.any(solved["item"][7])
    for params in (start, solved):
        expected = oracles.als_objective(
            matrix, *(oracles.float64(params)[name] for name in ("user", "item")), *numbers
        )
        np.testing.assert_allclose(objective(model.solver, *sides_of(matrix), params), expected, rtol=1e-5)


def test_many_steps_of_conjugate_gradients_equal_cholesky(small):
    case = "scaled by frequency"
    exact, gradients = make(**SETTINGS[case]), make(**SETTINGS[case], solver="cg", cg_steps=30)
    start = start_of(exact, small)
    solved, stepped = (iterate(model.solver, *sides_of(small), start) for model in (exact, gradients))
    for name in ("user", "item"):
        np.testing.assert_allclose(solved[name], stepped[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"solver": "cg"}])
def test_the_objective_falls_with_every_iteration(small, options):
    model, world = make(**options, **SETTINGS["observed pairs weigh more"]), sides_of(small)
    params = start_of(model, small)
    values = [objective(model.solver, *world, params)]
    for _ in range(5):
        params = iterate(model.solver, *world, params)
        values.append(objective(model.solver, *world, params))
    assert (np.diff(values) < 0).all()


def test_a_batch_of_starts_gives_what_each_gives(small):
    model, (users, _) = make(**SETTINGS["observed pairs weigh more"]), sides_of(small)
    user, item = (jnp.stack([table, -2 * table]) for table in start_of(model, small).values())
    together = jax.vmap(lambda *tables: solve_side(model.solver, users, *tables))(user, item)
    for i in range(2):
        alone = solve_side(model.solver, users, user[i], item[i])
        np.testing.assert_allclose(together[i], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")  # of its imports and of OpenBLAS's threads
@pytest.mark.parametrize("case", ["one matrix for all", "observed pairs weigh more"])
def test_predictions_agree_with_the_package_implicit(small, case):
    als = pytest.importorskip("implicit.cpu.als")
    sparse = pytest.importorskip("scipy.sparse")
    confidence, regularization, _ = arguments(SETTINGS[case])
    model = make(**SETTINGS[case])
    params = start_of(model, small)
    other = als.AlternatingLeastSquares(
        factors=DIM, regularization=regularization, alpha=1.0, use_cg=False, num_threads=1, iterations=3
    )
    other.user_factors, other.item_factors = (np.array(params[name]) for name in ("user", "item"))
    other.fit(sparse.csr_matrix((confidence * small).astype(np.float32)), show_progress=False)
    for _ in range(3):
        params = iterate(model.solver, *sides_of(small), params)
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
    changes = ({}, {"confidence": 2.0}, {"regularization": 2.0}, {"solver": "cg"}, {"solver": "cg", "cg_steps": 9})
    identities = [run_identity(world, make(**change), TrainOptions(), 0)["run"] for change in changes]
    assert len(set(identities)) == len(changes)


def test_mistakes_are_told(world):
    with pytest.raises(InputError, match=r"model\.regularization must be at least"):
        make(regularization=0.0)
    with pytest.raises(InputError, match=r'unknown model\.solver "choleski" \(did you mean "cholesky"'):
        make(solver="choleski")
    with pytest.raises(InputError, match="mf_als runs on one device"):
        create_learner(world, make(), TrainOptions(), TrainOptions().runs([0]), create_mesh(data=2))


def test_one_user_and_one_item():
    model = make(embed_dim=1, confidence=3.0, regularization=1.0)
    both = sides(Interactions(np.zeros(1, np.int32), np.zeros(1, np.int32)), 1, 1)
    solved = iterate(model.solver, *both, {"user": jnp.zeros((1, 1)), "item": jnp.ones((1, 1))})
    np.testing.assert_allclose(solved["user"], 3 / 4)  # (1 + 2 + 1) p = 3
