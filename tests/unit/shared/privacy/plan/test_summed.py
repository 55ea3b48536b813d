"""The form that contributions are summed in, of every kind and both trusts."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from client.training.shares import SummedMessages
from server.checkpoint import ServerState
from server.release.clipping import RoundClip
from server.secagg.opening import opened
from shared.config import from_dict
from shared.errors import ConfigError
from shared.privacy.mechanisms.correlated import CorrelatedNoise
from shared.privacy.mechanisms.source import NoiseSource
from shared.privacy.plan.plan import server_plan
from shared.privacy.plan.summed import UNBOUNDED, summed_form

USERS, DIM = 50, 300
SOURCE = NoiseSource.seeded(1)


def settings(epsilon=8.0, **sections):
    privacy = {"epsilon": epsilon} | sections.pop("privacy", {})
    federation = {"cohort": 1.0} | sections.pop("federation", {})
    return from_dict({"privacy": privacy, "federation": federation, **sections})


def contributions(count, norm, dim=DIM):
    rows = np.random.default_rng(0).normal(size=(count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True) * norm).astype(np.float32)


CENTRAL = {
    "fixed clip": {},
    "no budget": {"epsilon": math.inf},
    "examples": {"privacy": {"unit": "example"}},
    "correlated noise": {
        "privacy": {"mechanism": "dp_ftrl", "min_separation": 4},
        "federation": {"cohort": 0.25, "rounds": 8},
    },
}


@pytest.mark.parametrize("kind", ["update", "histogram", "moments", "metrics"])
@pytest.mark.parametrize("sections", CENTRAL.values(), ids=list(CENTRAL))
def test_a_central_sum_is_exact_up_to_a_step_for_each_device(kind, sections):
    form = summed_form(settings(**sections), USERS, kind)
    assert form.ring.bits <= 32
    assert 2 <= form.fewest <= form.most <= USERS
    rows = contributions(form.most, form.grid.clip.norm)
    total = form.encode(rows[0], SOURCE)
    for row in rows[1:]:
        total = form.ring.add(total, form.encode(row, SOURCE))
    apart = np.abs(form.decode(total) - rows.astype(np.float64).sum(0)).max()
    assert apart <= form.most * form.grid.step
    assert form.noise_norm(USERS, DIM) == form.bits(total) == 0


def test_the_ring_holds_the_largest_central_sum():
    form = summed_form(settings(), USERS, "update")
    whole = np.full(1, form.most * form.grid.l2_sensitivity)
    for sign in (1, -1):
        assert form.ring.centred(form.ring.reduce(sign * whole)) == sign * whole


def test_what_nothing_clips_is_cut_to_a_public_norm():
    form = summed_form(settings(math.inf), USERS, "update")
    long = np.zeros(DIM, dtype=np.float32)
    long[3] = 1000.0
    got = form.decode(form.encode(long, SOURCE))
    assert got[3] == pytest.approx(UNBOUNDED, rel=1e-5)
    assert np.linalg.norm(got) <= UNBOUNDED


def test_the_bit_of_an_adaptive_clip_travels_as_one_more_number():
    config = settings(privacy={"adaptive_clipping": 0.5})
    form, bits = summed_form(config, USERS, "update", adapted=0.3), [0.5, 0.5, -0.5]
    assert form.size(DIM) == DIM + 1
    rows = contributions(3, 0.3)
    total = form.encode(rows[0], SOURCE, bits[0])
    for row, bit in zip(rows[1:], bits[1:], strict=True):
        total = form.ring.add(total, form.encode(row, SOURCE, bit))
    assert form.bits(total) == 0.5
    np.testing.assert_allclose(form.decode(total), rows.sum(0), atol=3 * form.grid.step)
    assert summed_form(config, USERS, "histogram").size(DIM) == DIM


def test_what_wraps_is_as_far_from_its_neighbour_as_what_does_not():
    """At the ring's edge one person's contribution moves the reading by the whole ring."""
    form = summed_form(settings(), USERS, "histogram")
    edge = 2 ** (form.ring.bits - 1) - 1
    near = [form.decode(form.ring.reduce(np.array([at]))) for at in (edge, edge + 1)]
    assert abs(near[0] - near[1]) > 1  # in units of the clip: no noise would hide it
    noise = 3.3
    folded = [form.fold(at + noise) for at in near]
    assert abs(folded[0] - folded[1]) == pytest.approx(form.grid.step)
    adaptive = summed_form(settings(privacy={"adaptive_clipping": 0.5}), USERS, "update")
    ends = [
        np.append(0, adaptive.ring.centred(adaptive.ring.reduce(np.array([at]))))
        for at in (2 ** (adaptive.ring.bits - 1) - 1, 2 ** (adaptive.ring.bits - 1))
    ]
    bits = [adaptive.bits(adaptive.ring.reduce(end)) for end in ends]
    assert abs(bits[0] - bits[1]) > USERS
    folded = [adaptive.fold_bits(at + noise) for at in bits]
    assert abs(folded[0] - folded[1]) == pytest.approx(0.5)
    inside = np.linspace(-5, 5, 11)
    np.testing.assert_allclose(form.fold(inside), inside, atol=1e-9)


@pytest.mark.parametrize("trust", ["central", "distributed"])
def test_messages_of_every_kind_open_to_their_sum(trust):
    shares = {"trust": trust, "histogram_share": 0.2, "moments_share": 0.2}
    config = settings(100.0, privacy=shares, model={"moments_rank": 8})
    sent = SummedMessages(config, USERS, simulated=True)
    ways = {
        "update": lambda row, key: sent.update(row, key, 3, "schema"),
        "histogram": sent.histogram,
        "moments": sent.moments,
    }
    for kind, message in ways.items():
        form = summed_form(config, USERS, kind, round_number=3 if kind == "update" else 0)
        rows = contributions(USERS, 1.0)
        parts = [message(row, key) for key, row in enumerate(rows)]
        for part in parts:
            part.check(part.schema, DIM, None, form.ring)
        (total,) = opened(parts, form)
        assert total.weight == USERS
        error = np.linalg.norm(total.vector - rows.sum(0))
        assert error <= 1.5 * form.noise_norm(USERS, DIM) + USERS * DIM**0.5 * 1e-3
        assert opened(parts[: form.fewest - 1], form) == []
        assert opened([*parts, parts[0]], form) == []  # the ring holds no more


def test_metrics_are_summed_under_central_trust_alone():
    rows = np.array([[0.5, -0.1, 0.5], [-0.5, -0.5, 0.5]], dtype=np.float32)
    central = settings(privacy={"metrics_share": 0.1}, federation={"metrics_cohort": 1.0})
    sent = SummedMessages(central, 2, simulated=True)
    parts = [sent.metrics(row, key, 2) for key, row in enumerate(rows)]
    (total,) = opened(parts, summed_form(central, 2, "metrics"))
    np.testing.assert_allclose(total.vector, rows.sum(0), atol=1e-6)
    with pytest.raises(ConfigError, match="'metrics'"):
        summed_form(settings(privacy={"trust": "distributed"}), USERS, "metrics")


@pytest.mark.parametrize(
    ("users", "sections", "words"),
    [
        (1, {}, "a sum of fewer than 2 hides nobody"),
        (2**29, {}, "do not fit into 32 bits"),
        (50, {"privacy": {"trust": "local", "unit": "example"}}, "noised by its device"),
    ],
)
def test_what_cannot_be_summed_is_refused_in_words(users, sections, words):
    with pytest.raises(ConfigError, match=words):
        summed_form(settings(**sections), users, "update")


NOISES = {
    "few": ({"epsilon": 2.0}, 5),
    "little left": ({"epsilon": 0.5}, 30),
    "correlated": ({"epsilon": 2.0, "mechanism": "dp_ftrl"}, 12),
    "adaptive": ({"epsilon": 2.0, "adaptive_clipping": 0.5}, 12),
}


@pytest.mark.parametrize("case", NOISES)
def test_the_ring_has_room_for_the_noise_that_the_server_adds(case):
    """Folding moves next to none of it; 200,000 numbers of the largest deviation that there is."""
    privacy, users = NOISES[case]
    config = from_dict(
        {
            "privacy": {"delta": 1e-2} | privacy,
            "federation": {"cohort": 1.0, "rounds": 10},
            "model": {"moments_rank": 0},
        }
    )
    plan, rng = server_plan(config, users), np.random.default_rng(0)
    form = summed_form(config, users, "update", config.privacy.clipping_norm)
    mechanism = plan.planned("update").mechanism
    if case == "correlated":
        rows = CorrelatedNoise(mechanism.matrix, lambda row: NoiseSource.seeded(0, "s", "r", row))
        noise = max(np.abs(rows.row(t).normal(20_000)).max() for t in range(1, 11))
        noise *= mechanism.standard_deviation
    else:
        z = getattr(mechanism, "update", mechanism).noise_multiplier
        noise = np.abs(rng.normal(0, z, 200_000)).max() * config.privacy.clipping_norm
    largest = form.most * config.privacy.clipping_norm + noise
    for sign in (1, -1):
        np.testing.assert_allclose(form.fold(np.array([sign * largest])), [sign * largest])
    assert form.ring.bits <= 32


def test_a_bit_at_the_rings_edge_moves_what_is_released_by_one_person():
    """Whoever adds any elements may bring the sum there; without folding it jumps by the ring."""
    config = from_dict(
        {
            "privacy": {"epsilon": 8.0, "delta": 1e-3, "adaptive_clipping": 0.5},
            "federation": {"cohort": 1.0, "rounds": 2},
            "model": {"moments_rank": 0},
        }
    )
    form = summed_form(config, 100, "update", 1.0)
    half = 2.0 ** (form.ring.bits - 2)
    released = []
    for bit in (-0.5, 0.5):
        evil = form.encode(np.zeros(3), None, 0.0).copy()
        evil[-1] = 2 ** (form.ring.bits - 1) - 1
        total = form.ring.add(evil, form.encode(np.zeros(3), None, bit))
        releases = SimpleNamespace(release=lambda kind, total, number: total)
        state = ServerState(adapter=np.zeros(3))
        clip = RoundClip(config, state)
        clip.release(releases, form.decode(total), form.bits(total), 100.0, 1, form)
        released.append(state.bits[-1])
    apart = abs(released[0] - released[1])
    assert min(apart, 2 * half - apart) == 1.0
