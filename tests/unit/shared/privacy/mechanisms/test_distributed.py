"""Messages, their sum, and the least shares of noise that keep a plan within its budget."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from dp_accounting import GaussianDpEvent
from scipy import stats

from shared.config import from_dict
from shared.errors import ConfigError
from shared.privacy.accounting.accountant import epsilon, epsilon_rdp
from shared.privacy.accounting.events import SkellamDpEvent
from shared.privacy.accounting.rdp import skellam_divergence
from shared.privacy.accounting.steps import steps_of
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.mechanisms import distributed
from shared.privacy.mechanisms.distributed import Counted, SkellamMechanism, largest_cohort
from shared.privacy.mechanisms.rotation import Rotation
from shared.privacy.mechanisms.skellam import SkellamNoise
from shared.privacy.mechanisms.source import NoiseSource
from shared.privacy.plan.plan import server_plan
from shared.privacy.plan.shared_noise import calibrate_shares, histogram_sum, update_sum
from shared.secagg.ring import Ring
from tests.support.privacy.guarantees import promised

CLIP = L2Clip(0.5)
DIM = 300
TURN = Rotation(DIM, "test")


def mechanism(z=1.0, counted=(10, 10, 10), bits=32):
    return SkellamMechanism(z, CLIP, bits, Counted(*counted))


def messages(mech, contributions, seed=1):
    grid = mech.grid(DIM)
    return [
        grid.message(row, TURN, NoiseSource.seeded(seed, user))
        for user, row in enumerate(contributions)
    ]


def opened(mech, sent):
    total = sent[0]
    for message in sent[1:]:
        total = mech.ring.add(total, message)
    return mech.grid(DIM).open(total, TURN)


def contributions(count, seed=0):
    rows = np.random.default_rng(seed).normal(size=(count, DIM))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True) * 0.5


def test_the_sum_is_that_of_the_contributions_on_the_grid_and_of_all_noise():
    mech, rows = mechanism(), contributions(10)
    grid, whole = mech.grid(DIM), np.zeros(DIM, dtype=np.int64)
    for user, row in enumerate(rows):
        source = NoiseSource.seeded(1, user)
        whole += grid.rounding.encode(TURN.forward(row / 0.5), source)
        whole += SkellamNoise(grid.share).draw(source, DIM)
    expected = TURN.inverse(whole * grid.step)
    np.testing.assert_array_equal(opened(mech, messages(mech, rows)), expected)


@pytest.mark.parametrize("bits", [14, 32])
def test_the_noise_of_all_shares_is_what_is_accounted(bits):
    mech = mechanism(z=2.0, bits=bits)
    noise = np.concatenate(
        [opened(mech, messages(mech, np.zeros((10, DIM)), seed)) for seed in range(20)]
    )
    grid = mech.grid(DIM)
    deviation = math.sqrt(10 * grid.share) * grid.step
    assert deviation >= 2.0 * 0.5
    assert deviation == pytest.approx(2.0 * 0.5, rel=1e-3 if bits == 32 else 0.1)
    assert noise.std() / deviation == pytest.approx(1.0, abs=6 / math.sqrt(2 * noise.size))
    assert stats.kstest(noise / deviation, "norm").pvalue > 1e-7


def test_with_more_devices_there_is_more_noise_and_the_same_is_accounted():
    few, many = mechanism(counted=(5, 5, 5)), mechanism(counted=(5, 5, 10))
    assert few.event() == many.event()
    noise = opened(many, messages(many, np.zeros((10, DIM))))
    assert noise.std() == pytest.approx(0.5 * math.sqrt(2), rel=0.2)


def test_the_order_of_the_messages_does_not_matter():
    mech = mechanism()
    sent = messages(mech, contributions(10))
    np.testing.assert_array_equal(opened(mech, sent), opened(mech, sent[::-1]))


def test_a_message_says_nothing_of_a_contribution_that_is_not_finite():
    grid = mechanism().grid(DIM)
    zero = grid.message(np.zeros(DIM), TURN, NoiseSource.seeded(1))
    for wrong in (np.full(DIM, np.nan), np.full(DIM, np.inf), np.full(DIM, 1e300)):
        np.testing.assert_array_equal(grid.message(wrong, TURN, NoiseSource.seeded(1)), zero)


@pytest.mark.parametrize("bits", [12, 14, 16, 32])
def test_the_ring_holds_the_largest_sum_with_all_its_noise(bits):
    """Everyone gives the same, as much as they may: in one number, and in what is all of one."""
    mech = mechanism(z=1.0, counted=(50, 60, 100), bits=bits)
    grid = mech.grid(DIM)
    spread = math.sqrt(100 * (grid.share + 0.25)) * grid.step
    one = np.zeros(DIM)
    one[7] = 0.5
    for row in (one, TURN.inverse(one)):  # the second is one number after the rotation
        error = opened(mech, messages(mech, np.tile(row, (100, 1)))) - 100 * row
        if row is one or bits == 32:
            assert np.linalg.norm(error) < 1.3 * spread * math.sqrt(DIM)


def test_a_ring_of_too_few_bits_would_be_seen():
    """The negative control of the test above: wrapped sums are far off."""
    mech = mechanism(z=1.0, counted=(50, 60, 100), bits=16)
    grid = dataclasses.replace(mech.grid(DIM), ring=Ring(11))
    row = np.zeros(DIM)
    row[7] = 0.5
    total = np.zeros(DIM, dtype=np.uint32)
    for user in range(100):
        total = grid.ring.add(total, grid.message(row, TURN, NoiseSource.seeded(1, user)))
    error = grid.open(total, TURN) - 100 * row
    assert np.linalg.norm(error) > 3 * math.sqrt(100 * grid.share * DIM) * grid.step


@pytest.mark.parametrize("bits", [12, 16])
def test_a_number_is_misread_no_more_often_than_is_said(bits, monkeypatch):
    """At 2^-6 a number for each of three reasons: at 2^-40 a run nothing would be seen.

    Everyone gives the same: what is one number after the rotation has not so much room.
    """
    rare, mech = 6, mechanism(z=1.0, counted=(50, 60, 100), bits=bits)
    monkeypatch.setattr(distributed, "WRAP_BITS", rare - 2 - 12 - DIM.bit_length())
    relaxed = distributed._grid.__wrapped__(mech, DIM)
    assert relaxed.rounding.steps > 1.3 * mech.grid(DIM).rounding.steps
    room, shares = 2 ** (bits - 1) - 1, np.zeros(60)
    for seed in range(len(shares)):
        row = np.random.default_rng(seed).normal(size=DIM)
        turn, total = Rotation(DIM, seed), np.zeros(DIM, dtype=np.int64)
        for user in range(100):
            source = NoiseSource.seeded(seed, user)
            total += relaxed.rounding.encode(turn.forward(row / np.linalg.norm(row)), source)
            total += SkellamNoise(relaxed.share).draw(source, DIM)
        shares[seed] = (np.abs(total) > room).mean()
    assert shares.mean() <= 3 * 2.0**-rare + 5.4 * shares.std() / math.sqrt(len(shares))


def test_what_is_accounted_is_at_least_what_any_number_of_numbers_costs():
    """The event knows nothing of how many numbers a sum has; its cost is above all of theirs."""
    orders = np.arange(2.0, 65.0)
    for bits, z in itertools.product((12, 14, 16, 32), (0.7, 1.5, 4.0)):
        mech = SkellamMechanism(z, CLIP, bits, Counted(90, 100, 100))
        (step,) = steps_of([(mech.event(), 1)])
        accounted = skellam_divergence(step, orders)
        for dim in (1, 2, 3, 60, 1000, 1024, 1682, 22_000, 10**6):
            try:
                grid = mech.grid(dim)
            except ConfigError:
                continue
            squared = grid.rounding.l2_squared
            real = SkellamDpEvent(90.0 * grid.share, math.sqrt(squared), float(squared))
            (own,) = steps_of([(real, 1)])
            assert (skellam_divergence(own, orders) <= accounted * (1 + 1e-12)).all()


@pytest.mark.parametrize("bits", [16, 32])
def test_a_rings_sums_cost_what_gaussian_noise_does(bits):
    mech = SkellamMechanism(2.0, CLIP, bits, Counted(90, 100, 100))
    gaussian = epsilon_rdp([(GaussianDpEvent(2.0), 10)], 1e-5)
    assert epsilon([(mech.event(), 10)], 1e-5) == pytest.approx(gaussian, rel=2e-3)


@pytest.mark.parametrize("wrong", [(0, 2, 3), (4, 3, 3), (2, 4, 3), (1, 1, 1)])
def test_numbers_of_devices_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"{wrong[0]} survivors among {wrong[1]} messages of"):
        Counted(*wrong)


def test_what_fits_no_ring_is_refused_by_its_setting():
    many = SkellamMechanism(1.0, CLIP, 12, Counted(10**5, 10**5, 10**5))
    with pytest.raises(ConfigError, match=r"privacy\.ring_bits = 12: too few for sums of 1024 num"):
        many.check()
    config = settings(trust="distributed", ring_bits=12, epsilon=0.1)
    with pytest.raises(ConfigError, match=r"privacy\.ring_bits = 12: too few"):
        server_plan(config, 1000)


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
    less = found.noise_multiplier * 0.9995
    assert cost(dataclasses.replace(found, noise_multiplier=less)) > target


def test_without_a_histogram_the_rounds_have_it_all():
    updates = update_sum(settings(trust="distributed"), 200)
    (alone,) = calibrate_shares(promised(8.0), updates, 6, ())
    assert epsilon([(alone.event(), 6)], 1e-4) == pytest.approx(8.0, rel=1e-3)


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
        ({"ring_bits": 11}, "privacy.ring_bits = 11"),
        ({"ring_bits": 33}, "privacy.ring_bits = 33"),
        ({"grid_bits": 14}, "unknown setting privacy.grid_bits; .* did you mean privacy.ring_bits"),
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
