"""Bounds on epsilon from one replay of a tiny federation, and the controls beside them."""

from dataclasses import replace

import numpy as np
import pytest

from shared.config import at_epsilon, from_dict, to_dict
from shared.privacy.mechanisms.gaussian import GaussianMechanism
from simulations.audit.bounds import ANY, GAUSSIAN, OFF, bounds, held_out, noise_off
from simulations.audit.checks.record import RAW, raw
from simulations.audit.replay.replay import Replay
from simulations.audit.static import cause, of_one
from simulations.audit.threats import ALL_ROUNDS, BLACK_BOX, MESSAGES, OPENED, seen
from simulations.engine.simulation import Simulation
from tests.support.auditing.tried import CROWD, sharp

CANARIES = 300


def settings(backbone):
    """Everyone in both rounds, of some hundred people and 696 trained numbers."""
    tree = {
        "data": {"spec": "world", "users": 320, "world_items": 120, "evaluated_users": 2},
        "model": {
            "backbone": str(backbone),
            "layers": 0,
            "max_length": 8,
            "lora_rank": 2,
            "projection_rank": 8,
            "moments_rank": 0,
        },
        "train": {"max_windows": 1},
        "federation": {
            "rounds": 2,
            "cohort": 1.0,
            "popularity_start": False,
            "server_optimizer": "fedavgm",
            "server_lr": 0.3,
        },
        "privacy": {"clipping_norm": 0.5, "delta": 1e-5},
    }
    tree["data"]["negatives"] = 20
    return tree


@pytest.fixture(scope="module")
def simulation(tiny_bert):
    return Simulation(from_dict(settings(tiny_bert)))


def replayed(simulation, epsilon, seed=0, most=CANARIES):
    replay = Replay(at_epsilon(simulation.config, epsilon, seed), simulation)
    return replay.run(replay.canaries(most))


def shown(findings):
    return {(each.name, each.threat_model): each for each in findings}


def test_bounds_of_correct_code_are_sharp_and_below_theory(simulation):
    observed = replayed(simulation, 8.0)
    found = shown(bounds(observed))
    assert not [each for each in found.values() if each.verdict == "violated"]
    white = found[ANY, ALL_ROUNDS]
    assert 1 < white.figures["bound"] < 8
    assert white.figures["bound"] < white.figures["most provable"]
    assert [each.verdict for each in noise_off(observed)] == ["holds"]


def peeking(canaries):
    """Who attacks knows every coin beforehand."""
    return canaries.included.astype(float)


def test_nobody_is_found_where_no_canary_was_in(simulation, monkeypatch):
    replay = Replay(at_epsilon(simulation.config, 8.0, 0), simulation)
    observed = replay.held_out(replay.canaries(CANARIES))
    assert observed.canaries.included.any()
    assert not [
        each
        for of in observed.of("update")
        for key, each in zip(of.exchange.members, of.exchange.contributions, strict=True)
        if key in observed.canaries.keys and each.any()
    ]
    assert [each.verdict for each in held_out(observed)] == ["holds"]
    final = seen._final
    monkeypatch.setattr(
        seen,
        "_final",
        lambda sums, canaries, claim: replace(
            final(sums, canaries, claim), scores=peeking(canaries)
        ),
    )
    assert [each.verdict for each in held_out(observed)] == ["violated"]


def test_too_few_held_out_show_nothing(simulation):
    replay = Replay(at_epsilon(simulation.config, 8.0, 0), simulation)
    assert [each.verdict for each in held_out(replay.held_out(replay.canaries(20)))] == [
        "not shown"
    ]


@pytest.mark.parametrize(("epsilon", "by"), [(1.0, {ANY, GAUSSIAN}), (2.0, {GAUSSIAN})])
def test_noise_off_is_flagged_by_a_bound_alone(simulation, monkeypatch, epsilon, by):
    monkeypatch.setattr(GaussianMechanism, "standard_deviation", property(lambda self: 0.0))
    observed = replayed(simulation, epsilon)
    assert raw(observed).verdict == "violated"
    assert raw(observed).name == RAW
    found = shown(bounds(observed))
    assert {name for (name, _), each in found.items() if each.verdict == "violated"} == by


def of_kind(tiny_bert, natural, **sections):
    """The replay of a smaller point, and what bounds say of it by name and view."""
    tree = to_dict(from_dict(settings(tiny_bert)))
    tree["data"]["users"] = 160
    for section, more in sections.items():
        tree[section] |= more
    simulation = Simulation(from_dict(tree))
    replay = Replay(at_epsilon(simulation.config, 8.0, 0), simulation)
    observed = replay.run(replay.canaries(CANARIES, natural))
    found = shown(bounds(observed))
    assert not [each for each in found.values() if each.verdict == "violated"]
    assert cause(of_one(observed)) is None
    return observed, found


EXAMPLES = {"train": {"max_windows": 2}, "privacy": {"unit": "example"}}
LOCAL = {"train": {"max_windows": 2}, "privacy": {"unit": "example", "trust": "local"}}
SHARED = {"data": {"users": 100}, "privacy": {"trust": "distributed", "colluding": 0.0}}
SHARED["privacy"]["delta"] = 1e-4
ONCE = {"federation": {"rounds": 0, "popularity_start": True}}


@pytest.mark.parametrize(
    ("sections", "view", "natural", "least"),
    [
        (EXAMPLES, ALL_ROUNDS, False, 1.0),
        (EXAMPLES, ALL_ROUNDS, True, 0.2),
        (LOCAL, MESSAGES, False, 1.0),
        (SHARED, OPENED, False, 0.5),
        (SHARED, OPENED, True, 0.2),
        (ONCE, "white box: the released histogram alone", False, 0.2),
        (ONCE, BLACK_BOX, True, 0.0),
    ],
    ids=["examples", "odd examples", "local", "shared", "odd shared", "once", "black box"],
)
def test_each_view_shows_what_it_can(tiny_bert, sections, view, natural, least):
    observed, found = of_kind(tiny_bert, natural, **sections)
    figures = found[ANY, view].figures
    assert least <= figures["bound"] <= figures["most provable"]
    off = next(each for each in noise_off(observed) if each.name == OFF)
    assert off.verdict == ("not shown" if view == MESSAGES else "holds")


def test_where_a_view_does_not_apply_it_says_why(simulation):
    found = shown(bounds(replayed(simulation, 8.0)))
    assert found[ANY, BLACK_BOX].verdict == "not shown"
    assert not found[ANY, BLACK_BOX].figures
    none = Replay(at_epsilon(simulation.config, 8.0, 0), simulation).run()
    assert [each.verdict for each in bounds(none)] == ["not shown"]


def test_no_gaussian_bound_where_who_is_asked_is_drawn(tiny_bert):
    _, found = of_kind(tiny_bert, False, federation={"cohort": 0.3})
    assert "bound" not in found[GAUSSIAN, ALL_ROUNDS].figures
    assert found[ANY, ALL_ROUNDS].figures["most provable"] > 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "epsilon"), [("user", 1.0), ("user", 4.0), ("user", 8.0), ("example", 8.0)]
)
def test_bounds_stay_below_theory_in_nineteen_of_twenty_seeds(tiny_bert, kind, epsilon):
    simulation = Simulation(sharp(tiny_bert, kind))
    found = [shown(bounds(replayed(simulation, epsilon, seed, CROWD))) for seed in range(20)]
    for about in found[0]:
        if "bound" in found[0][about].figures:
            assert sum(of[about].figures["bound"] > epsilon for of in found) <= 1, about
    assert not [each for of in found for each in of.values() if each.verdict == "violated"]
    for name in (ANY, GAUSSIAN):
        bound = np.median([of[name, ALL_ROUNDS].figures["bound"] for of in found])
        assert epsilon < 8 or bound >= 2, (name, bound)
