"""Mistakes planted in the product's code: the auditor, who sees a replay, names each of them.

Of correct code it says nothing: every check is wrong with probability 1e-4 at most, so all that are
made here, of some thousand, at all with probability of some percent; seeds are fixed.
"""

import pytest

from shared.config import at_epsilon, from_dict
from simulations.audit.checks import devices, neighbours, noise, people, record
from simulations.audit.replay.replay import Replay
from simulations.audit.static import cause, examined, of_one
from simulations.engine.simulation import Simulation
from tests.support.auditing import planted

PEOPLE, CANARIES = 90, 80


def settings(backbone, **sections):
    """A point with every kind of sum but moments, of 696 trained numbers."""
    tree = {
        "data": {"spec": "world", "users": PEOPLE, "world_items": 120, "evaluated_users": 2},
        "model": {
            "backbone": str(backbone),
            "layers": 0,
            "max_length": 8,
            "lora_rank": 2,
            "projection_rank": 8,
            "moments_rank": 0,
        },
        "train": {"max_windows": 1, "local_lr": 0.5},
        "federation": {
            "rounds": 5,
            "cohort": 0.5,
            "server_optimizer": "fedavgm",
            "server_lr": 0.3,
            "metrics_cohort": 0.2,
        },
        "privacy": {"clipping_norm": 0.5, "metrics_share": 0.1, "histogram_share": 0.1},
    }
    tree["data"]["negatives"] = 20
    for section, more in sections.items():
        tree[section] = tree.get(section, {}) | more
    return from_dict(tree)


WHOLE = {"federation": {"cohort": 1.0, "metrics_cohort": 1.0}}
SHARED = {
    "federation": {"cohort": 1.0, "rounds": 3, "popularity_start": False, "metrics_cohort": 1.0},
    "privacy": {
        "trust": "distributed",
        "min_survivors": 0.5,
        "colluding": 0.0,
        "metrics_share": 0.0,
        "histogram_share": 0.0,
    },
}
LOCAL = {
    "federation": {"cohort": 0.2, "rounds": 3, "popularity_start": False},
    "privacy": {
        "unit": "example",
        "trust": "local",
        "metrics_share": 0.0,
        "histogram_share": 0.0,
    },
}
OF_A_PERSON = {"": {}, "whole": WHOLE, "shared": SHARED, "local": LOCAL}


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


def named(replay, kind):
    """What the auditor says is the cause; None: all is well."""
    if kind == "neighbours":
        return cause(examined(replay, replay.canaries(CANARIES))[1])
    if kind == "shared":
        return cause(of_one(replay.run(replay.canaries(PEOPLE), lost=0.45)))
    if kind == "local":
        return cause(of_one(replay.run()))
    return cause(of_one(replay.run(replay.canaries(CANARIES))))


BUGS = {
    planted.half_the_noise: ("", noise.SCALE),
    planted.noise_for_the_mean: ("", noise.MEAN),
    planted.clip_after_the_sum: ("", people.CLIP),
    planted.clip_of_each_layer: ("", people.LAYERS),
    planted.weights_by_interactions: ("", people.WEIGHTS),
    planted.the_same_noise_every_round: ("", noise.FRESH),
    planted.a_round_off_the_ledger: ("", record.LEDGER),
    planted.a_cohort_of_fixed_size: ("", people.SAMPLING),
    planted.a_metric_as_it_is: ("", record.RAW),
    planted.half_the_sensitivity: ("whole", record.EPSILON),
    planted.the_same_noise_on_every_device: ("local", devices.SAME),
    planted.shares_for_all_who_were_asked: ("shared", noise.DROPOUTS),
    planted.a_draw_by_place_in_the_log: ("neighbours", neighbours.PLACE),
    planted.a_hash_of_what_was_summed: ("neighbours", neighbours.PUBLIC),
}
KINDS = ("", "whole", "shared", "local", "neighbours")


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
