"""Attacks find who was in a run without noise, and not in one with it; what they claim is exact."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from shared.errors import ConfigError
from shared.privacy.plan.terms import server_terms
from simulations.audit.attacks.halves import Without, memberships
from simulations.audit.attacks.intervals import Found, Rate, auc
from simulations.audit.attacks.membership import lira, membership, rmia
from tests.support.auditing.audited import at, simulated, trained

USERS, MODELS = 80, 5


def attacked(backbone, folder, epsilon):
    """Members looked for in runs that go far enough to remember them, where nothing is noised."""
    world = simulated(backbone, USERS, rounds=4, server_lr=1.0, popularity_start=epsilon < 10)
    released, bits = trained(world, epsilon, MODELS, folder)
    point = at(world, epsilon)
    terms = server_terms(point, USERS)
    promised = terms.guarantee if terms else None
    return membership(world.engine(point.model), point, released, bits, promised)


def test_members_of_a_run_without_noise_are_found(tiny_bert, tmp_path):
    found = attacked(tiny_bert, tmp_path, math.inf)
    named = {(attack.name, attack.threat_model): attack for attack in found.attacks}
    for attack in named.values():
        assert attack.found.auc.low > 0.5
    strong = named["LiRA", "final model"]
    assert strong.found.auc.value > 0.7
    assert strong.found.at[0.01].value > 0.03
    assert found.everybody.low > 0.5
    assert found.exposed.value > found.everybody.value
    assert {finding.verdict for finding in found.findings} == {"not shown"}
    assert len(found.worst) == 4
    shifts = [person.shift for person in found.worst]
    assert shifts == sorted(shifts, reverse=True)


def test_members_of_a_run_with_noise_are_not_found(tiny_bert, tmp_path):
    found = attacked(tiny_bert, tmp_path, 1.0)
    for attack in found.attacks:
        assert attack.found.auc.low < 0.58
        assert attack.found.at[0.01].low < 0.05
        assert attack.bound < 1
    assert {finding.verdict for finding in found.findings} <= {"holds", "not shown"}


def drawn(shift, models=8, people=400, seed=0):
    """Signals of people who differ, in which one who is in stands higher by so many deviations."""
    random = np.random.default_rng(seed)
    bits = memberships(models, people, seed)
    signal = 5 * random.normal(size=people) + random.normal(size=bits.shape) + shift * bits
    return signal, bits


@pytest.mark.parametrize("attack", [rmia, lira])
def test_an_attack_is_about_as_good_as_one_that_knows_the_law(attack):
    signal, bits = drawn(2.0)
    scores = np.concatenate([attack([signal], bits, target) for target in range(8)])
    # Who knows everyone's middle gets Phi(2 / sqrt 2) = 0.92; seven references cost some.
    assert 0.86 < auc(scores, bits.ravel()).value < 0.93
    nothing, out = drawn(0.0)
    blind = np.concatenate([attack([nothing], out, target) for target in range(8)])
    assert abs(auc(blind, out.ravel()).value - 0.5) < 0.04


@pytest.mark.parametrize("attack", [rmia, lira])
def test_an_attack_does_not_read_who_is_in_its_target(attack):
    signal, bits = drawn(1.0)
    turned = bits.copy()
    turned[3] = ~turned[3]
    assert np.array_equal(attack([signal], bits, 3), attack([signal], turned, 3))


def test_intervals_are_exact():
    found = Rate.of(7, 50)
    assert binom.sf(6, 50, found.low) == pytest.approx(0.025)
    assert binom.cdf(7, 50, found.high) == pytest.approx(0.025)
    assert (Rate.of(0, 9).low, Rate.of(9, 9).high) == (0, 1)
    with pytest.raises(ConfigError, match="10 of 9"):
        Rate.of(10, 9)


def test_an_interval_of_the_area_holds_the_true_one():
    random, true, held = np.random.default_rng(0), 0.7602, 0  # Phi(1 / sqrt 2)
    bits = np.arange(150) < 60
    for _ in range(200):
        area = auc(random.normal(size=150) + bits, bits)
        held += area.low <= true <= area.high
    assert held >= 180  # of 200 at 95 %: fewer by chance once in 1,000


def test_what_is_found_is_counted_above_the_false_alarms():
    scores = np.concatenate([np.arange(1000.0), [998.5, 2000, 500]])
    found = Found.of(scores, np.arange(1003) >= 1000)
    assert found.at[0.001].count == 1 + 1  # above all but the one highest of a thousand
    assert found.at[0.01].count == 2
    assert found.curve[-1] == (1.0, 1.0)
    with pytest.raises(ConfigError, match="0 in and 5 out"):
        Found.of(np.zeros(5), np.zeros(5, dtype=bool))
    area = auc(np.arange(4.0), np.array([False, False, True, True]))
    assert (area.value, area.high) == (1, 1)


def test_bits_of_runs_are_independent_and_whoever_is_out_has_nothing(tiny_bert):
    bits = memberships(40, 500, 3)
    assert abs(bits.mean() - 0.5) < 0.02
    assert np.abs(np.corrcoef(bits) - np.eye(40)).max() < 0.2
    world = simulated(tiny_bert, 5).population
    halved = Without(world, [world.keys[2]])
    assert [len(halved.history(user)) > 0 for user in range(5)] == [True, True, False, True, True]
    assert len(halved) == 5
    assert halved.keys == world.keys


def test_too_few_runs_are_refused(tiny_bert):
    world = simulated(tiny_bert, 5)
    with pytest.raises(ConfigError, match="2 models, bits"):
        membership(world.engine(at(world).model), at(world), [None] * 2, memberships(2, 5, 0), None)
