"""Bounds on epsilon from one replay of a tiny federation, and the controls beside them."""

import pytest

from shared.config import at_epsilon, from_dict
from shared.privacy.mechanisms.gaussian import GaussianMechanism
from simulations.audit.bounds import ANY, GAUSSIAN, HELD_OUT, OFF, bounds, controls
from simulations.audit.checks.record import RAW, raw
from simulations.audit.replay.replay import Replay
from simulations.audit.threats import ALL_ROUNDS
from simulations.engine.simulation import Simulation

CANARIES = 300


@pytest.fixture(scope="module")
def simulation(tiny_bert):
    tree = {
        "data": {"spec": "world", "users": 320, "world_items": 120, "evaluated_users": 2},
        "model": {
            "backbone": str(tiny_bert),
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
    return Simulation(from_dict(tree))


def replayed(simulation, epsilon, seed=0):
    replay = Replay(at_epsilon(simulation.config, epsilon, seed), simulation)
    return replay.run(replay.canaries(CANARIES))


def shown(findings):
    return {(each.name, each.threat_model): each for each in findings}


def test_bounds_of_correct_code_are_sharp_and_below_theory(simulation):
    observed = replayed(simulation, 8.0)
    found = shown(bounds(observed))
    assert not [each for each in found.values() if each.verdict == "violated"]
    white = found[ANY, ALL_ROUNDS]
    assert 1 < white.figures["bound"] < 8
    assert white.figures["bound"] < white.figures["most provable"]
    controlled = {each.name: each for each in controls(observed)}
    assert {OFF, HELD_OUT} == set(controlled)
    assert all(each.verdict == "holds" for each in controlled.values())


def test_noise_off_is_flagged_by_a_bound_alone(simulation, monkeypatch):
    monkeypatch.setattr(GaussianMechanism, "standard_deviation", property(lambda self: 0.0))
    observed = replayed(simulation, 2.0)
    assert raw(observed).verdict == "violated"
    assert raw(observed).name == RAW
    found = shown(bounds(observed))
    assert {each.verdict for (name, _), each in found.items() if name in (ANY, GAUSSIAN)} == {
        "violated"
    }


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [1.0, 4.0, 8.0])
def test_bounds_stay_below_theory_in_nineteen_of_twenty_seeds(simulation, epsilon):
    found = [bounds(replayed(simulation, epsilon, seed)) for seed in range(20)]
    for name in (ANY, GAUSSIAN):
        violated = [[each.verdict for each in seed if each.name == name] for seed in found]
        assert sum("violated" in verdicts for verdicts in violated) <= 1
