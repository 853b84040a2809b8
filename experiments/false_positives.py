"""How often tests call equal systems different: the share of p < 0.05 over simulated metrics, by test.

python experiments/false_positives.py
python experiments/false_positives.py --difference=0.01    # the power: systems that do differ

A value is the sum of what is drawn for the user, for the user and the system, for the seed, and for the user and the
seed; the standard deviations are about those of NDCG@10 on ml-100k. Each line of the Markdown table is a number of
users, a standard deviation of seeds, and a number of seeds of each system. docs/guides/significance.md has the results.
"""

import itertools

import numpy as np
from absl import flags

from hlr_jax.cli.support.launch import launch
from hlr_jax.evaluation.comparison import SIGNIFICANT
from hlr_jax.evaluation.significance import paired_difference

_USERS = flags.DEFINE_list("users", ["900", "6000"], "numbers of users")
_SEEDS = flags.DEFINE_list("seeds", ["2", "3", "5"], "numbers of seeds of each system, two or more")
_SEED_STDS = flags.DEFINE_list("seed_stds", ["0", "0.001", "0.002", "0.004"], "standard deviations of seeds")
_USER_STD = flags.DEFINE_float("user_std", 0.25, "standard deviation of users")
_SYSTEM_STD = flags.DEFINE_float("system_std", 0.04, "of a user's difference between the systems")
_REST_STD = flags.DEFINE_float("rest_std", 0.06, "of a user's difference between the seeds of a system")
_DIFFERENCE = flags.DEFINE_float("difference", 0.0, "of the systems' true means")
_WORLDS = flags.DEFINE_integer("worlds", 2000, "simulated comparisons for each line", lower_bound=1)
_DRAWS = flags.DEFINE_integer("draws", 500, "of a bootstrap", lower_bound=1)

_TESTS = ("t, users", "bootstrap, users", "bootstrap, users and seeds", "the same, widened", "t, users and seeds")


def main() -> None:
    """Print the table."""
    print(f"| users | std of seeds | seeds | {' | '.join(_TESTS)} |\n|{' --- |' * (3 + len(_TESTS))}")
    for users, std, seeds in itertools.product(_USERS.value, _SEED_STDS.value, _SEEDS.value):
        shares = positives(int(users), float(std), int(seeds))
        print(f"| {users} | {std} | {seeds} | {' | '.join(f'{share:.1%}' for share in shares)} |", flush=True)


def positives(users: int, seed_std: float, seeds: int) -> np.ndarray:
    """Return the share of worlds in which each test has p < 0.05."""
    rng = np.random.default_rng(0)
    # All worlds share the users that are drawn: each world has other users anyway.
    drawn = rng.multinomial(users, np.full(users, 1 / users), size=_DRAWS.value) / users
    found = np.zeros(len(_TESTS))
    for _ in range(_WORLDS.value):
        a, b = world(rng, users, seed_std, seeds)
        over_users = paired_difference(a.mean(axis=0)[None], b.mean(axis=0)[None]).p_value
        p_values = [over_users, *bootstraps(rng, a, b, drawn), paired_difference(a, b).p_value]
        found += np.array(p_values) < SIGNIFICANT
    return found / _WORLDS.value


def world(rng: np.random.Generator, users: int, seed_std: float, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the values [seeds, users] of two systems."""
    of_user = rng.normal(0, _USER_STD.value, users)
    of_system = rng.normal(_DIFFERENCE.value, _SYSTEM_STD.value, users)

    def measured(means: np.ndarray) -> np.ndarray:
        return means + rng.normal(0, seed_std, (seeds, 1)) + rng.normal(0, _REST_STD.value, (seeds, users))

    return measured(of_user + of_system), measured(of_user)


def bootstraps(rng: np.random.Generator, a: np.ndarray, b: np.ndarray, drawn: np.ndarray) -> list[float]:
    """Return p-values by the shift of what is drawn to a mean of 0.

    Drawn are users alone; users and the seeds of each system; and both with the seeds' deviations from their mean
    widened by sqrt(S / (S - 1)), since S drawn seeds vary less than S new ones.

    Args:
      rng: of the seeds' draws.
      a: values [S, U] of one system.
      b: values [S, U] of the other.
      drawn: [draws, U], the share of each user in each draw.
    """
    observed, seeds = a.mean() - b.mean(), len(a)
    over_users, over_seeds = np.zeros(len(drawn)), np.zeros(len(drawn))
    for sign, values in ((1, a), (-1, b)):
        means = drawn @ values.T
        centre = means.mean(axis=1)
        shares = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=len(drawn)) / seeds
        over_users += sign * centre
        over_seeds += sign * ((means * shares).sum(axis=1) - centre)
    widened = (seeds / (seeds - 1)) ** 0.5
    totals = (over_users, over_users + over_seeds, over_users + widened * over_seeds)
    return [(1 + int((abs(total - observed) >= abs(observed)).sum())) / (1 + len(drawn)) for total in totals]


if __name__ == "__main__":
    launch(main)
