"""A budget is split by what is public, what is stated counts, and nothing is left over."""

import math

import pytest
from dp_accounting import GaussianDpEvent
from hypothesis import given
from hypothesis import strategies as st

from shared.config import from_dict
from shared.errors import ConfigError
from shared.privacy.accounting.accountant import epsilon
from shared.privacy.plan.plan import device_plan, server_plan
from shared.privacy.plan.split import RICH, SOME, budget_split, one_release, shares

ALL = ("histogram", "moments", "metrics", "update")


def point(users, *, rounds=5, rank=4, target=8.0, **privacy):
    return server_plan(
        from_dict(
            {
                "federation": {"rounds": rounds, "cohort": 1.0},
                "model": {"moments_rank": rank},
                "privacy": {"epsilon": target, "delta": 1e-5, **privacy},
            }
        ),
        users,
    )


@pytest.mark.parametrize(("target", "delta"), [(0.5, 1e-5), (2.0, 1e-6), (8.0, 1e-4), (50, 1e-9)])
def test_one_release_is_what_the_accountant_says(target, delta):
    assert epsilon(GaussianDpEvent(1 / one_release(target, delta)), delta) == pytest.approx(
        target, rel=1e-4
    )


@pytest.mark.parametrize("target", [1e-3, 700.0, 5000.0])  # e^epsilon overflows beyond 709
def test_the_ends_have_a_finite_answer(target):
    assert 0 < one_release(target, 1e-14) < one_release(target, 1e-2) < 1e3


@pytest.mark.parametrize("target", [5e-324, 1e-12, 1.0, 1e8, 1e300, 1.7e308])
@pytest.mark.parametrize("delta", [5e-324, 1e-100, 1e-14, 0.5, 1 - 1e-16])
def test_every_budget_that_settings_allow_is_split(target, delta):
    assert 1e-6 <= one_release(target, delta) <= 1e4
    assert sum(budget_split(10**6, target, delta, ALL).values()) == pytest.approx(1)


@given(
    users=st.integers(1, 10**7),
    target=st.floats(1e-2, 100),
    kinds=st.sets(st.sampled_from(ALL)).filter(lambda at: at & {"histogram", "update"}),
    stated=st.dictionaries(
        st.sampled_from(["histogram", "moments", "metrics"]),
        st.just(0.0) | st.floats(1e-3, 0.33),
        max_size=3,
    ),
)
def test_shares_are_of_one_whole_and_what_is_stated_counts(users, target, kinds, stated):
    given_ = {f"{kind}_share": share for kind, share in stated.items()}
    config = from_dict({"model": {"moments_rank": 1}, "privacy": given_})
    found = shares(config, users, 1e-8, target, kinds)
    assert set(found) == set(kinds)
    assert math.fsum(found.values()) == pytest.approx(1)
    assert all(0 <= share <= 1 for share in found.values())
    main = "update" if "update" in kinds else "histogram"
    assert found[main] > 0 if main in kinds else True
    for kind, share in stated.items():
        if kind in kinds and kind != main:
            assert found[kind] == share


def test_moments_and_rounds_from_the_stated_numbers_of_people_on():
    some, many = (math.ceil(told / one_release(8.0, 1e-5)) for told in (SOME, RICH))
    least = budget_split(some - 1, 8.0, 1e-5, ALL)
    assert (least["histogram"], least["moments"]) == (0.9, 0.0)
    for users in (some, many - 1):
        few = budget_split(users, 8.0, 1e-5, ALL)
        assert (few["histogram"], few["moments"]) == (0.55, 0.4)
    rich = budget_split(many, 8.0, 1e-5, ALL)
    assert (rich["histogram"], rich["moments"]) == (0.15, 0.4)
    assert budget_split(many, 8.0, 1e-5, ALL, group=2) == few  # noise is worth half
    for users, share in ((some - 1, 0.0), (some, 0.4), (many - 1, 0.4), (many, 0.75)):
        alone = budget_split(users, 8.0, 1e-5, ("histogram", "moments"))
        assert alone == pytest.approx({"histogram": 1 - share, "moments": share})


def test_noise_is_in_the_inverse_ratio_of_the_roots_of_shares():
    users = 10**4
    z_1 = 1 / one_release(8.0, 1e-5)
    for rounds in (5, 0):
        plan = point(users, rounds=rounds)
        assert plan is not None
        for kind, share in plan.shares.items():
            noise = plan.planned(kind).mechanism.noise_multiplier
            times = plan.planned(kind).times
            assert noise == pytest.approx(z_1 * math.sqrt(times / share), rel=1e-3), kind


def test_every_device_s_own_noise_counts_as_many_times():
    local = from_dict({"privacy": {"unit": "example", "trust": "local", "epsilon": 8.0}})
    few, many = (device_plan(local, n) for n in (10**4, 10**7))
    assert few is not None
    assert many is not None
    assert (few.shares["histogram"], many.shares["histogram"]) == (0.9, 0.15)


def test_stated_shares_that_leave_nothing_are_refused():
    with pytest.raises(ConfigError, match=r"moments_share = 0\.5 leave nothing for the rounds"):
        point(100, histogram_share=0.5, moments_share=0.5)
