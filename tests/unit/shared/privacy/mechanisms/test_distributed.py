"""Messages, their sum, and the least shares of noise that keep a plan within its budget."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from shared.config import from_dict
from shared.errors import ConfigError
from shared.privacy.accounting.accountant import epsilon
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.mechanisms.distributed import Counted, SkellamMechanism, largest_cohort
from shared.privacy.mechanisms.fixed_point import FixedPoint
from shared.privacy.mechanisms.skellam import SkellamNoise
from shared.privacy.mechanisms.source import NoiseSource
from shared.privacy.plan.plan import server_plan
from shared.privacy.plan.shared_noise import SharedSum, calibrate_shares, histogram_sum, update_sum
from tests.support.privacy.guarantees import promised

GRID = FixedPoint(L2Clip(0.5), 14)
DIM = 300


def mechanism(z=1.0, survivors=10, devices=10):
    return SkellamMechanism.with_noise(z, GRID, Counted(survivors, max(2, survivors), devices))


def messages(mech, contributions, seed=1):
    return [
        mech.message(row, NoiseSource.seeded(seed, user)) for user, row in enumerate(contributions)
    ]


def opened(mech, sent):
    total = sent[0]
    for message in sent[1:]:
        total = mech.ring.add(total, message)
    return mech.open(total)


def contributions(count, seed=0):
    rows = np.random.default_rng(seed).normal(size=(count, DIM))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True) * 0.5


def test_the_sum_is_that_of_the_contributions_on_the_grid_and_of_all_noise():
    mech, rows = mechanism(), contributions(10)
    whole = np.zeros(DIM, dtype=np.int64)
    for user, row in enumerate(rows):
        source = NoiseSource.seeded(1, user)
        whole += GRID.encode(row) + SkellamNoise(mech.share).draw(source, DIM)
    np.testing.assert_array_equal(opened(mech, messages(mech, rows)), whole * GRID.step)


def test_the_noise_of_all_shares_is_what_is_accounted():
    mech = mechanism(z=2.0)
    noise = np.concatenate(
        [opened(mech, messages(mech, np.zeros((10, DIM)), seed)) for seed in range(20)]
    )
    assert mech.noise_multiplier == pytest.approx(2.0, rel=1e-7)
    assert noise.std() / (2.0 * 0.5) == pytest.approx(1.0, abs=6 / math.sqrt(2 * noise.size))
    assert stats.kstest(noise / (2.0 * 0.5), "norm").pvalue > 1e-7


def test_with_more_devices_there_is_more_noise_and_the_same_is_accounted():
    few, many = mechanism(survivors=5), mechanism(survivors=5, devices=10)
    assert few.event() == many.event()
    noise = opened(many, messages(many, np.zeros((10, DIM))))
    assert noise.std() == pytest.approx(0.5 * math.sqrt(2), rel=0.2)


def test_the_order_of_the_messages_does_not_matter():
    mech = mechanism()
    sent = messages(mech, contributions(10))
    np.testing.assert_array_equal(opened(mech, sent), opened(mech, sent[::-1]))


def test_a_message_says_nothing_of_a_contribution_that_is_not_finite_or_too_long():
    mech = mechanism()
    zero = mech.message(np.zeros(DIM), NoiseSource.seeded(1))
    for wrong in (np.full(DIM, np.nan), np.full(DIM, np.inf), np.full(DIM, 1e30)):
        np.testing.assert_array_equal(mech.message(wrong, NoiseSource.seeded(1)), zero)


def test_the_ring_holds_the_largest_sum_with_all_its_noise():
    mech = mechanism(z=3.0, survivors=50, devices=100)
    reach = 100 * 2**14 + 10 * math.sqrt(100 * mech.share)  # ten standard deviations
    assert 2 ** (mech.ring.bits - 1) > reach
    everyone = np.full((100, 1), 0.5)
    assert opened(mech, messages(mech, everyone))[0] == pytest.approx(50, abs=10 * 3.0)


def test_a_ring_of_too_few_bits_would_be_seen():
    """The negative control of the test above: wrapped sums are far off."""
    mech = mechanism(z=0.01, survivors=100, devices=100)
    small = dataclasses.replace(mech, counted=Counted(1, 2, 2))
    total = small.ring.reduce(np.array([100 * 2**14]))
    assert abs(small.open(total)[0] - 50) > 10


@pytest.mark.parametrize("wrong", [(0, 2, 3), (4, 3, 3), (2, 4, 3), (1, 1, 1)])
def test_numbers_of_devices_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"{wrong[0]} survivors among {wrong[1]} messages of"):
        Counted(*wrong)


def test_what_fits_no_ring_is_refused():
    with pytest.raises(ConfigError, match="more than 62"):
        SkellamMechanism(FixedPoint(L2Clip(1.0), 24), 9, Counted(1, 2, 2**40))


@pytest.mark.parametrize(
    ("share", "colluding", "expected", "users", "counted"),
    [
        (None, 0.1, 943.0, 943, (849, 943, 943)),
        (None, 0.0, 943.0, 943, (943, 943, 943)),
        (0.5, 0.1, 943.0, 943, (472, 566, 943)),
        (0.9, 0.1, 1000.0, 1000, (900, 1000, 1000)),
        (0.1, 0.0, 10.0, 10, (1, 2, 10)),
        (0.3, 0.3, 10.0, 10, (3, 6, 10)),  # .3 x 10 is just below 3 in floating point
    ],
)
def test_how_many_devices_a_sum_counts_on(share, colluding, expected, users, counted):
    assert Counted.on(share, colluding, expected, users) == Counted(*counted)


def test_a_drawn_cohort_counts_on_those_that_nearly_always_come():
    drawn = Counted.on(None, 0.1, 100.0, 1000)
    assert drawn.devices == largest_cohort(100.0, 1000)
    come = drawn.fewest
    assert stats.binom.cdf(come - 1, 1000, 0.1) < 1e-4 <= stats.binom.cdf(come, 1000, 0.1)
    assert drawn.survivors == come - math.floor(0.1 * drawn.devices)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((None, 0.1, 3.0, 1000), "federation.cohort: of 3 expected of 1000 users as few as 0 may"),
        (
            (None, 0.4, 20.0, 1000),
            "as few as 6 may come, and as many as 31 may collude .privacy.colluding = 0.4",
        ),
        ((0.95, 0.1, 100.0, 100), "privacy.min_survivors = 0.95: 95 honest devices beside 10"),
        ((None, 0.0, 1.0, 1), "more than the 1 that may be in a sum of at least 2"),
    ],
)
def test_counts_that_cannot_be_are_refused_in_words(given, words):
    with pytest.raises(ConfigError, match=words):
        Counted.on(*given)


@pytest.mark.parametrize(("expected", "users"), [(1.0, 10**6), (50.0, 1000), (1e4, 10**6)])
def test_how_many_devices_the_ring_must_hold(expected, users):
    most = largest_cohort(expected, users)
    assert stats.binom.sf(most, users, expected / users) * 2**20 <= 2.0**-41
    assert most < 2 * expected + 120
    assert largest_cohort(8.0, 8) == 8


def settings(**privacy):
    return from_dict({"federation": {"cohort": 1.0}, "privacy": {"epsilon": 8.0} | privacy})


@pytest.mark.parametrize("target", [0.5, 8.0])
def test_the_least_noise_meets_the_target_and_less_does_not(target):
    config = settings(trust="distributed")
    updates, histogram = update_sum(config, 200), histogram_sum(config, 200)
    found, first = calibrate_shares(promised(target), updates, 6, ((histogram, 0.1),))

    def cost(mech):
        return epsilon([(mech.event(), 6), (first.event(), 1)], 1e-4)

    assert cost(found) <= target
    assert cost(found) == pytest.approx(target, rel=1e-3)
    assert cost(dataclasses.replace(found, share=int(found.share * 0.999))) > target


def test_without_a_histogram_the_rounds_have_it_all():
    updates = update_sum(settings(trust="distributed"), 200)
    (alone,) = calibrate_shares(promised(8.0), updates, 6, ())
    assert epsilon([(alone.event(), 6)], 1e-4) == pytest.approx(8.0, rel=1e-3)


def test_the_grid_hardly_costs_anything():
    """A coarse grid's bound is close to that of a fine one: the noise is in steps of it."""
    spent = []
    for bits in (8, 14, 20):
        mech = SharedSum(FixedPoint(L2Clip(1.0), bits), Counted(90, 100, 100)).with_noise(2.0)
        spent.append(epsilon([(mech.event(), 10)], 1e-5))
    assert spent[0] == pytest.approx(spent[2], rel=1e-3)
    assert spent[1] == pytest.approx(spent[2], rel=1e-6)


def test_every_round_counts_and_no_draw_amplifies():
    """Cohort of a tenth: as many rounds, the same noise for the same epsilon, larger shares."""
    tree = {"privacy": {"trust": "distributed", "epsilon": 4.0}}
    plans = [
        server_plan(from_dict(tree | {"federation": {"cohort": cohort, "rounds": 7}}), 1000)
        for cohort in (1.0, 100.0)
    ]
    for plan in plans:
        told = plan.guarantee
        assert (told.trust, told.unit, plan.sampling_probability) == ("distributed", "user", 1.0)
        assert plan.times == {"update": 7, "histogram": 1}
        events = [(at.event, at.times) for at in plan.releases]
        assert 3.99 < epsilon(events, told.delta) <= 4.0
    everyone, drawn = (plan.planned("update").mechanism for plan in plans)
    assert drawn.noise_multiplier == pytest.approx(everyone.noise_multiplier, rel=1e-4)
    assert everyone.counted == Counted(900, 1000, 1000)
    assert 40 < drawn.counted.survivors < 60 < drawn.counted.fewest < 100
    words = [plan.guarantee.adversary for plan in plans]
    assert "at least 900 of the 1000 or more devices in every sum are honest" in words[0]
    assert (
        f"{drawn.counted.survivors} of the {drawn.counted.fewest} or more devices in every sum of "
        "a round and 900 of the 1000 or more in the histogram are honest"
    ) in words[1]


def test_without_a_budget_the_server_sees_sums_that_no_one_noised():
    plan = server_plan(settings(trust="distributed", epsilon=math.inf), 200)
    assert plan.guarantee.trust == "central"


@pytest.mark.parametrize(
    ("privacy", "words"),
    [
        ({"unit": "example"}, "trust = distributed does not go with privacy.unit = example"),
        ({"unit": "both"}, "trust = distributed does not go with privacy.unit = both"),
        ({"max_participations": 3}, "does not go with privacy.max_participations = 3"),
        ({"adaptive_clipping": 0.5}, "does not go with privacy.trust = distributed"),
        ({"metrics_share": 0.1}, "does not go with privacy.trust = distributed"),
        ({"mechanism": "dp_ftrl"}, "does not go with privacy.trust = distributed"),
        ({"relation": "replace_one"}, "privacy.relation"),
        ({"grid_bits": 3}, "privacy.grid_bits = 3"),
        ({"min_survivors": 0.0}, "privacy.min_survivors = 0.0"),
        ({"colluding": 0.5}, "privacy.colluding = 0.5"),
        ({"colluding": -0.1}, "privacy.colluding = -0.1"),
    ],
)
def test_what_is_not_accounted_is_refused(privacy, words):
    with pytest.raises(ConfigError, match=words):
        settings(**({"trust": "distributed"} | privacy))


def test_a_rule_that_is_no_sum_is_refused():
    tree = {"federation": {"aggregation": "flexlora"}, "privacy": {"trust": "distributed"}}
    with pytest.raises(
        ConfigError, match=r"flexlora does not go with privacy\.trust = distributed"
    ):
        from_dict(tree)


def test_a_histogram_without_a_budget_is_refused():
    config = settings(trust="distributed", histogram_share=0.0)
    with pytest.raises(ConfigError, match="histogram_share = 0 does not go with"):
        server_plan(config, 200)
