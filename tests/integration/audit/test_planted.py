"""Mistakes planted in the product's code: the auditor, who sees a replay, names each of them.

Of correct code it says nothing: every check is wrong with probability 1e-4 at most, so all that are
made here, of some thousand, at all with probability of some percent; seeds are fixed.
"""

from dataclasses import replace

import pytest

from shared.config import at_epsilon
from simulations.audit.checks.noise import noise_scale
from simulations.audit.checks.people import clip
from simulations.audit.replay.replay import Replay
from simulations.engine.simulation import Simulation
from tests.support.auditing import planted
from tests.support.auditing.tried import BUGS, KINDS, OF_A_PERSON, named, settings


@pytest.fixture(scope="module")
def opened(tiny_bert):
    """Replays of a point, by kind of settings and seed; data and model opened once."""
    simulations = {}

    def replay(kind="", seed=0, epsilon=8.0):
        if kind not in simulations:
            simulations[kind] = Simulation(settings(tiny_bert, **OF_A_PERSON[kind]))
        simulation = simulations[kind]
        return Replay(at_epsilon(simulation.config, epsilon, seed), simulation)

    return replay


@pytest.fixture
def forgetful():
    planted.forget()
    yield
    planted.forget()


def of(opened, kind, seed):
    return opened("" if kind == "neighbours" else kind, seed)


@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_mistake_is_named(opened, monkeypatch, bug):
    kind, name = BUGS[bug]
    replay = of(opened, kind, 0)
    bug(monkeypatch, replay)
    assert named(replay, kind) == name


@pytest.mark.parametrize("kind", KINDS[1:])
def test_correct_code_has_none(opened, kind):
    assert named(of(opened, kind, 0), kind) is None


def test_what_was_released_unseen_does_not_hold(opened):
    """As where a server keeps no checkpoint: one sum that is right says nothing of the rounds."""
    replay = opened()
    observed = replay.run(replay.canaries(80))
    assert {noise_scale(observed).verdict, clip(observed).verdict} == {"holds"}
    histogram = replace(observed, releases=tuple(observed.of("histogram")))
    for check in (noise_scale, clip):
        assert check(histogram).verdict == "not shown"
        assert "No metrics was seen" in check(histogram).words


@pytest.mark.slow
@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_mistake_is_named_in_nine_of_ten_seeds(opened, monkeypatch, bug):
    kind, name = BUGS[bug]
    found = []
    for seed in range(1, 11):
        replay = of(opened, kind, seed)
        with monkeypatch.context() as patch:
            bug(patch, replay)
            found.append(named(replay, kind))
        planted.forget()
    assert found.count(name) >= 9, found


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_correct_code_has_none_in_ten_seeds(opened, kind):
    assert [named(of(opened, kind, seed), kind) for seed in range(1, 11)] == [None] * 10
