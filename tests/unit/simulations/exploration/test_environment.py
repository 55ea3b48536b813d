"""A person as an environment for agents of others."""

import numpy as np
import pytest

from shared.errors import ConfigError
from simulations.exploration.environment import PersonEnv, gymnasium
from simulations.exploration.settings import OnlineConfig

WIDTH = 4


@pytest.fixture(scope="module")
def env(tiny_bert):
    return PersonEnv(
        OnlineConfig(
            users=20,
            items=30,
            days=5,
            slate=3,
            shift=0,
            components=WIDTH,
            backbone=str(tiny_bert),
            churn=0.3,
            seeds=(0,),
        )
    )


def episode(env, seed, **options):
    env.reset(seed=seed, options=options)
    rng, found = np.random.default_rng(seed), []
    while True:
        found.append(env.step(rng.choice(30, 3, replace=False)))
        if found[-1][2] or found[-1][3]:
            return found


def test_an_episode_ends_when_the_person_leaves_or_the_days_are_over(env):
    ends = [episode(env, seed)[-1] for seed in range(12)]
    assert all(gone != over for _, _, gone, over, _ in ends)
    assert {gone for _, _, gone, _, _ in ends} == {True, False}
    for *_, info in ends:
        assert info["open"].shape == (30,)
        assert 0 < info["expected"] <= 3


def test_the_same_seed_is_the_same_episode(env):
    first, again, other = episode(env, 3), episode(env, 3), episode(env, 4)
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        assert one[1:4] == two[1:4]
    assert any((one[0] != two[0]).any() for one, two in zip(first, other, strict=False))


def test_what_is_observed_is_time_clicks_and_what_was_shown(env):
    observed, info = env.reset(seed=1, options={"user": 2})
    shown = np.flatnonzero(info["open"])[:3]
    assert observed.shape == (1 + 2 * WIDTH,)
    assert not observed.any()
    observed, reward, *_ = env.step(shown)
    assert observed[0] == pytest.approx(1 / 5)
    np.testing.assert_allclose(observed[1 + WIDTH :], 0.1 * env.items[shown].mean(0), atol=1e-6)
    assert (observed[1 : 1 + WIDTH].any()) == (reward > 0)


def test_a_place_that_repeats_an_item_stays_empty(env):
    rewards = []
    for seed in range(40):
        env.reset(seed=seed)
        rewards.append(env.step(np.array([1, 1, 1]))[1])
    assert max(rewards) == 1


def test_actions_that_are_none_are_refused(env):
    env.reset(seed=0)
    for wrong in ([1, 2], [1, 2, 30], [-1, 2, 3]):
        with pytest.raises(ConfigError, match="expected 3 items from 0 to 29"):
            env.step(np.array(wrong))


def test_gymnasiums_own_checker_accepts_it(env):
    if gymnasium is None:
        pytest.skip("gymnasium is not installed (pip install gymnasium)")
    from gymnasium.utils.env_checker import check_env

    check_env(env, skip_render_check=True)
