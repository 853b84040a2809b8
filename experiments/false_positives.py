"""Measure how often tests call equal systems different: the share of p < 0.05 over simulated metrics, by test.

python experiments/false_positives.py
python experiments/false_positives.py --difference=0.01    # the power, for systems that differ

A value is the sum of random effects of the user, of the user and the system, of the seed, and of the user and the seed.
Their standard deviations are about those of NDCG@10 on ml-100k. Each row of the Markdown table is for a number of
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
_SYSTEM_STD = flags.DEFINE_float("system_std", 0.04, "standard deviation of a user's difference between the systems")
_REST_STD = flags.DEFINE_float(
    "rest_std", 0.06, "standard deviation of a user's difference between the seeds of a system"
)
_DIFFERENCE = flags.DEFINE_float("difference", 0.0, "difference of the systems' true means")
_WORLDS = flags.DEFINE_integer("worlds", 2000, "simulated comparisons for each row", lower_bound=1)
_DRAWS = flags.DEFINE_integer("draws", 500, "samples of a bootstrap", lower_bound=1)

_TESTS = ("t, users", "bootstrap, users", "bootstrap, users and seeds", "the same, widened", "t, users and seeds")


def main() -> None:
    """Print the table."""
    print(f"| users | std of seeds | seeds | {' | '.join(_TESTS)} |\n|{' --- |' * (3 + len(_TESTS))}")
    for users, std, seeds in itertools.product(_USERS.value, _SEED_STDS.value, _SEEDS.value):
        shares = positives(int(users), float(std), int(seeds))
        print(f"| {users} | {std} | {seeds} | {' | '.join(f'{share:.1%}' for share in shares)} |", flush=True)


def positives(users: int, seed_std: float, seeds: int) -> np.ndarray:
    """Return the share of simulated comparisons in which each test has p < 0.05."""
    rng = np.random.default_rng(0)
    # All comparisons share the bootstrap samples of users: each has other users anyway.
    sampled = rng.multinomial(users, np.full(users, 1 / users), size=_DRAWS.value) / users
    found = np.zeros(len(_TESTS))
    for _ in range(_WORLDS.value):
        a, b = simulated(rng, users, seed_std, seeds)
        over_users = paired_difference(a.mean(axis=0)[None], b.mean(axis=0)[None]).p_value
        p_values = [over_users, *bootstraps(rng, a, b, sampled), paired_difference(a, b).p_value]
        found += np.array(p_values) < SIGNIFICANT
    return found / _WORLDS.value


def simulated(rng: np.random.Generator, users: int, seed_std: float, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the values [seeds, users] of two systems."""
    of_user = rng.normal(0, _USER_STD.value, users)
    of_system = rng.normal(_DIFFERENCE.value, _SYSTEM_STD.value, users)

    def measured(means: np.ndarray) -> np.ndarray:
        return means + rng.normal(0, seed_std, (seeds, 1)) + rng.normal(0, _REST_STD.value, (seeds, users))

    return measured(of_user + of_system), measured(of_user)


def bootstraps(rng: np.random.Generator, a: np.ndarray, b: np.ndarray, sampled: np.ndarray) -> list[float]:
    """Return p-values of bootstraps shifted to a mean of 0.

    The bootstraps sample users alone, then users and the seeds of each system. The third samples both and widens the
    seeds' deviations from their mean by sqrt(S / (S - 1)), since S resampled seeds vary less than S new ones.

    Args:
      rng: for sampling seeds.
      a: values [S, U] of one system.
      b: values [S, U] of the other.
      sampled: [samples, U], the share of each user in each bootstrap sample.
    """
    observed, seeds = a.mean() - b.mean(), len(a)
    over_users, over_seeds = np.zeros(len(sampled)), np.zeros(len(sampled))
    for sign, values in ((1, a), (-1, b)):
        means = sampled @ values.T
        centre = means.mean(axis=1)
        shares = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=len(sampled)) / seeds
        over_users += sign * centre
        over_seeds += sign * ((means * shares).sum(axis=1) - centre)
    widened = (seeds / (seeds - 1)) ** 0.5
    totals = (over_users, over_users + over_seeds, over_users + widened * over_seeds)
    return [(1 + int((abs(total - observed) >= abs(observed)).sum())) / (1 + len(sampled)) for total in totals]


if __name__ == "__main__":
    launch(main)
