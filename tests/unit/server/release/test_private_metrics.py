"""Private metrics and the adaptive clip at the server: who is asked, what is recorded and told."""

import math

import numpy as np
import pytest
from dp_accounting import PoissonSampledDpEvent
from flwr.app import MessageType
from safetensors.numpy import load_file

from client.messages import update_reply
from server.checkpoint import load
from server.federation import run_federation
from shared.errors import ConfigError, EngineError
from shared.metrics import discounted_gains
from shared.privacy.contribution.evaluation import (
    METRICS_CLIP,
    METRICS_SCHEMA,
    metric_contributions,
)
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.plan.plan import server_plan
from shared.update import Update
from simulations.results import Claim
from simulations.verify.statistics import statistics_reasons
from tests.unit.server.test_round import (
    DIM,
    INITIAL,
    USERS,
    Canned,
    files,
    flat,
    settings,
    unit,
)

pytestmark = pytest.mark.usefixtures("flower")

METRICS = "query.metrics"
EVERY_ROUND = {"federation": {"metrics_every": 1}, "privacy": {"metrics_share": 0.5}}


class Measured(Canned):
    """Clients that also answer for metrics: at each request a rank from `ranks`, in turn."""

    def __init__(self, ranks=(0,)):
        super().__init__()
        self.ranks = list(ranks)
        self.asked = []
        self.clips = []

    def send_and_receive(self, messages, timeout=None):
        messages = list(messages)
        if messages and messages[0].metadata.message_type == METRICS:
            self.asked.append([m.metadata.dst_node_id for m in messages])
        return super().send_and_receive(messages, timeout)

    def good(self, message, request, vector=None):
        node = message.metadata.dst_node_id
        if message.metadata.message_type == METRICS:
            rank = self.ranks[min(len(self.asked), len(self.ranks)) - 1]
            vector = metric_contributions([rank])[0]
            norm = float(np.linalg.norm(vector.astype(np.float64)))
            return update_reply(message, Update(vector, 1.0, norm, METRICS_SCHEMA), [node])
        if message.metadata.message_type == MessageType.TRAIN and request.clip:
            self.clips.append(request.clip)
            short = unit(node) * min(1.0, request.clip)
            norm = float(np.linalg.norm(short))
            bit = 0.5 if request.clip >= 1 else -0.5
            return update_reply(message, Update(short, 1.0, norm, request.schema, bits=bit), [node])
        return super().good(message, request, vector)


@pytest.fixture
def no_noise(monkeypatch):
    """Noise of zero everywhere: the mechanisms, events and ledger stay as they are."""
    monkeypatch.setattr(
        "shared.privacy.mechanisms.source.NoiseSource.normal", lambda self, size: np.zeros(size)
    )


def run(folder, grid, config, **arguments):
    found = files(folder)
    outcome = run_federation(grid, config, found, simulated=True, **arguments)
    return outcome, Ledger.open(found.ledger), found


def test_every_release_is_recorded_and_the_plan_fits_the_budget(tmp_path):
    config = settings(**EVERY_ROUND)
    outcome, ledger, _ = run(tmp_path, Measured(), config)
    steps = [(number, kind) for number in (1, 2, 3) for kind in ("update", "metrics")]
    assert [(entry.round, entry.release) for entry in ledger.entries] == steps
    assert ledger.epsilon() == pytest.approx(1.0, rel=1e-4)
    assert ledger.epsilon() <= 1.0 * (1 + 1e-6)
    plan = server_plan(config, USERS)
    assert plan.planned("metrics").times == 3
    assert {entry.event for entry in ledger.entries if entry.release == "metrics"} == {
        plan.planned("metrics").event
    }
    assert [found["round"] for found in outcome["released_metrics"]["releases"]] == [1, 2, 3]


@pytest.mark.parametrize(("every", "rounds"), [(0, [3]), (1, [1, 2, 3]), (2, [2, 3]), (3, [3])])
def test_the_final_adapter_is_measured_once_whatever_came_before(every, rounds, tmp_path):
    config = settings(federation={"metrics_every": every}, privacy={"metrics_share": 0.5})
    outcome, ledger, _ = run(tmp_path, Measured(), config)
    assert [found["round"] for found in outcome["released_metrics"]["releases"]] == rounds
    assert [e.round for e in ledger.entries if e.release == "metrics"] == rounds
    assert server_plan(config, USERS).planned("metrics").times == len(rounds)


def test_what_is_told_is_read_from_noised_sums(tmp_path, no_noise):
    """Without noise the estimate is exact; so with it, all that differs is noise."""
    outcome, _, _ = run(tmp_path / "exact", Measured([4]), settings(**EVERY_ROUND))
    found = outcome["released_metrics"]["releases"][0]
    assert found["users"] == USERS
    assert found["hr@10"]["value"] == 1.0
    assert found["ndcg@10"]["value"] == pytest.approx(discounted_gains([4])[0], abs=1e-6)


def test_the_released_figures_are_not_the_exact_ones(tmp_path):
    outcome, _, _ = run(tmp_path, Measured([4]), settings(**EVERY_ROUND))
    for found in outcome["released_metrics"]["releases"]:
        assert all(abs(total - USERS / 2) > 1e-6 for total in found["sums"])
    assert outcome["metrics_status"] == "evaluator only, not released"
    assert outcome["released_metrics"]["status"].startswith("released")


def test_metrics_are_asked_of_a_sample_of_their_own(tmp_path):
    grid = Measured()
    config = settings(
        federation={"metrics_every": 1, "metrics_cohort": 0.5, "rounds": 8},
        privacy={"metrics_share": 0.5},
    )
    run(tmp_path, grid, config)
    assert len(grid.asked) == 8
    cohorts = [cohort for cohort in grid.cohorts if cohort not in ([],)][:8]
    assert grid.asked != cohorts  # same probability, other people
    assert len({tuple(asked) for asked in grid.asked}) > 1


def test_a_device_that_sends_more_than_its_share_is_dropped(tmp_path, no_noise):
    class Greedy(Measured):
        def good(self, message, request, vector=None):
            reply = super().good(message, request, vector)
            if message.metadata.message_type != METRICS or message.metadata.dst_node_id != 12:
                return reply
            long = np.array([5, 5, 5], dtype=np.float32)
            return update_reply(message, Update(long, 1.0, METRICS_CLIP.norm, METRICS_SCHEMA), [12])

    outcome, _, _ = run(tmp_path, Greedy([4]), settings(**EVERY_ROUND))
    assert outcome["released_metrics"]["releases"][0]["users"] == USERS - 1


def test_the_iterate_with_the_best_private_metric_is_released(tmp_path, no_noise):
    """Round 2 ranks best: what is released is the iterate after round 2."""
    config = settings(
        10.0,  # less, and eight people's metrics say nothing
        federation={"metrics_every": 1, "select": "private_metric"},
        privacy={"metrics_share": 0.5},
    )
    grid = Measured([30, 0, 30])
    outcome, _, found = run(tmp_path, grid, config)
    state = load(found.checkpoint)
    assert outcome["released_metrics"]["selected_round"] == 2
    assert state.best_score == pytest.approx(2.0)
    np.testing.assert_array_equal(state.best, flat_adapter(grid, round_number=2, dim=DIM))


@pytest.mark.parametrize("drowned", [(2,), (1, 2, 3)])
def test_a_release_that_says_nothing_is_not_selected(drowned, tmp_path, monkeypatch):
    """A count that noise drowned can carry both rates to 1: it must not beat what is told."""
    normal, calls = "shared.privacy.mechanisms.source.NoiseSource.normal", []

    def noise(self, size):
        calls.append(size)
        measured = sum(1 for one in calls if one == 3)
        z = server_plan(config, USERS).planned("metrics").mechanism.standard_deviation
        drowns = size == 3 and measured in drowned
        # A count of 0.02, over which any sums are rates of 1 and 1.
        return np.array([0, 0, 0.01 - USERS / 2]) / z if drowns else np.zeros(size)

    config = settings(
        10.0,  # less, and eight people's metrics say nothing
        federation={"metrics_every": 1, "select": "private_metric"},
        privacy={"metrics_share": 0.5},
    )
    monkeypatch.setattr(normal, noise)
    outcome, ledger, found = run(tmp_path, Measured([2, 0, 4]), config)
    told = outcome["released_metrics"]
    assert told["releases"][1]["hr@10"]["value"] == 1.0
    assert told["selected_round"] == (None if len(drowned) == 3 else 1)
    assert (load(found.checkpoint).best_score < 0) is (len(drowned) == 3)
    assert statistics_reasons(ledger, Claim(outcome), config, USERS) == []


def flat_adapter(grid, round_number, dim):
    """The iterate after a round is what the next round's clients are sent."""
    sent = grid.adapters[round_number]
    flat = np.concatenate([sent[name].ravel() for name in sorted(sent)]).astype(np.float64)
    assert flat.shape == (dim,)
    return flat


def test_the_clip_follows_the_norms_of_the_updates(tmp_path, no_noise):
    """All norms are 1: from 2 the clip falls, by exp(-eta / 2 (1 + sampling)) a round."""
    config = settings(
        privacy={"adaptive_clipping": 0.5, "clipping_rate": 1.0}, federation={"rounds": 8}
    )
    grid = Measured()
    outcome, ledger, found = run(tmp_path, grid, config)
    norms = outcome["clipping_norms"]
    assert norms[0] == 2.0
    assert norms[1] < norms[0]
    assert 0.4 < norms[-1] < 2.0  # turned round where it fell below 1
    assert sorted(set(grid.clips), reverse=True) == sorted(
        {norm for norm in norms[:-1] if norm in grid.clips}, reverse=True
    )
    assert load(found.checkpoint).clips == norms
    assert all(len(entry.event.event.events) == 2 for entry in ledger.entries)


def test_sum_and_noise_are_in_units_of_the_rounds_clip(tmp_path, monkeypatch):
    """With noise of +1 standard deviation everywhere: + z_u C_t / (q N) in round t."""
    monkeypatch.setattr(
        "shared.privacy.mechanisms.source.NoiseSource.normal", lambda self, size: np.ones(size)
    )
    config = settings(privacy={"adaptive_clipping": 0.5, "clipping_rate": 1.0})
    grid = Measured()
    outcome, ledger, found = run(tmp_path, grid, config)
    z = ledger.entries[0].event.event.events[0].noise_multiplier
    norms = outcome["clipping_norms"][:3]
    assert len(set(norms)) == 3
    signal = sum(
        unit(node) * min(1.0, norm)
        for norm, cohort in zip(norms, grid.cohorts, strict=True)
        for node in cohort
    )
    expected = flat(INITIAL) + (signal + z * sum(norms)) / 4
    np.testing.assert_allclose(flat(load_file(found.adapter)), expected, rtol=1e-5)


def test_an_update_longer_than_the_rounds_clip_is_refused(tmp_path, no_noise):
    class Long(Measured):
        def good(self, message, request, vector=None):
            node = message.metadata.dst_node_id
            if message.metadata.message_type != MessageType.TRAIN or node != 12:
                return super().good(message, request, vector)
            return update_reply(
                message, Update(unit(node) * 1.9, 1.0, 1.9, request.schema, bits=-0.5), [node]
            )

    config = settings(
        privacy={"adaptive_clipping": 0.5, "clipping_norm": 2.0, "clipping_rate": 1.0},
        federation={"cohort": 8.0},
    )
    outcome, _, _ = run(tmp_path, Long(), config)
    assert outcome["clipping_norms"][1] < 1.9
    assert outcome["history"][0]["failures"] == 0
    assert sum(entry["failures"] for entry in outcome["history"][1:]) > 0


def test_bits_that_say_too_much_are_refused(tmp_path):
    class Loud(Measured):
        def good(self, message, request, vector=None):
            node = message.metadata.dst_node_id
            if message.metadata.message_type != MessageType.TRAIN:
                return super().good(message, request, vector)
            return update_reply(
                message, Update(unit(node), 1.0, 1.0, request.schema, bits=7.0), [node]
            )

    with pytest.raises(EngineError, match="no update counted"):
        run(tmp_path, Loud(), settings(privacy={"adaptive_clipping": 0.5}))


def test_without_a_budget_neither_happens(tmp_path):
    config = settings(math.inf, **EVERY_ROUND)
    grid = Measured()
    outcome, ledger, _ = run(tmp_path, grid, config)
    assert grid.asked == []
    assert "released_metrics" not in outcome
    assert {entry.release for entry in ledger.entries} == {"update"}


@pytest.mark.parametrize("mechanism", ["gaussian", "dp_ftrl"])
def test_a_sample_is_in_the_error_and_amplifies_only_against_who_does_not_know_it(
    mechanism, tmp_path
):
    config = settings(
        federation={"metrics_every": 1, "metrics_cohort": 0.5},
        privacy={"metrics_share": 0.5, "mechanism": mechanism},
    )
    outcome, ledger, _ = run(tmp_path, Measured([4, 30, 2]), config)
    assert statistics_reasons(ledger, Claim(outcome), config, USERS) == []
    events = [entry.event for entry in ledger.entries if entry.release == "metrics"]
    sampled = [type(event) is PoissonSampledDpEvent for event in events]
    assert sampled == [mechanism == "gaussian"] * 3
    assert ledger.epsilon() <= 1.0 * (1 + 1e-6)


REFUSED = {
    "privacy.mechanism = dp_ftrl does not go with privacy.adaptive_clipping": {
        "privacy": {"mechanism": "dp_ftrl", "adaptive_clipping": 0.5}
    },
    "privacy.unit = example": {"privacy": {"unit": "example", "metrics_share": 0.1}},
    "privacy.unit = both": {"privacy": {"unit": "both", "adaptive_clipping": 0.5}},
    "privacy.trust = local|privacy.unit = example": {
        "privacy": {"unit": "example", "trust": "local", "adaptive_clipping": 0.5}
    },
    "leave nothing for the rounds": {"privacy": {"histogram_share": 0.5, "metrics_share": 0.5}},
    "needs privacy.metrics_share": {"federation": {"metrics_every": 2}},
    "needs federation.metrics_every": {
        "federation": {"select": "private_metric"},
        "privacy": {"metrics_share": 0.1},
    },
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_not_accounted_is_refused_in_one_line(words):
    with pytest.raises(ConfigError, match=words) as caught:
        settings(**REFUSED[words])
    assert "\n" not in str(caught.value)
