"""Secure sums through the whole federation: what is sent, what is summed, who is left out."""

from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Error, Message
from safetensors.numpy import load_file
from scipy import stats

import server.release.sums
from client.messages import parse
from server.messages import Replies
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.plan.summed import summed_form
from shared.request import STAGES
from shared.secagg.ring import Ring
from simulations.flower.grid import CohortGrid, SequentialGrid
from simulations.world.world import World
from tests.support.federations import federate, point_config
from tests.support.tiny import make_engine

pytestmark = pytest.mark.usefixtures("flower")

USERS = 12
EARLY = ["query.keys", "query.seeds", "train", "query.survivors"]
GRIDS = {"cohort": CohortGrid, "sequential": SequentialGrid}


@pytest.fixture(scope="module")
def engine(tiny_bert):
    return make_engine(World(users=USERS, items=40), tiny_bert)


@pytest.fixture
def config(tiny_bert):
    def make(**sections):
        sections["federation"] = {
            "secure_aggregation": "on",
            "cohort": 1.0,
            "rounds": 2,
        } | sections.get("federation", {})
        return point_config(tiny_bert, **sections)

    return make


# Every kind of release, under every trust and mechanism that sums: what is asked for.
MOMENTS = {"model": {"moments_rank": 4}, "privacy": {"moments_share": 0.3}}
MODES = {
    "central": {},
    "moments": MOMENTS,
    "metrics": {"privacy": {"metrics_share": 0.2}},
    "adaptive": {"privacy": {"adaptive_clipping": 0.5}},
    "correlated": {"privacy": {"mechanism": "dp_ftrl"}},
    "no noise": {"epsilon": float("inf")},
    "distributed": {"privacy": {"trust": "distributed", "min_survivors": 0.5}},
    "distributed moments": {
        "privacy": {"trust": "distributed", "min_survivors": 0.5, "moments_share": 0.3},
        "model": {"moments_rank": 4},
    },
    "ffa": {"federation": {"aggregation": "ffa"}},
}


class Watched:
    """A grid that keeps what passes, and loses what it is told to."""

    def __init__(self, grid, lost=lambda message: False):
        self.grid, self.lost = grid, lost
        self.asked, self.replies = [], []

    def __getattr__(self, name):
        return getattr(self.grid, name)

    def send_and_receive(self, messages, timeout=None):
        messages = list(messages)
        self.asked.extend(messages)
        there = [message for message in messages if not self.lost(message)]
        for reply in self.grid.send_and_receive(there, timeout=timeout):
            self.replies.append(reply)
            yield reply
        for message in messages:
            if message not in there:
                yield Message(Error(code=1), reply_to=message)


def losing(kind, nodes, number=None):
    """Replies that never come: of these nodes to messages of that type, in one round or all."""

    def lost(message):
        about = message.content.config_records["config"]
        there = number is None or about["round"] == number
        return (
            there
            and message.metadata.message_type == kind
            and message.metadata.dst_node_id in nodes
        )

    return lost


@pytest.mark.parametrize("mode", MODES)
def test_the_sum_is_to_the_last_bit_that_of_messages_that_are_not_masked(
    mode, engine, config, tmp_path, monkeypatch
):
    """So a simulation may leave the masks out."""
    settings = config(**MODES[mode])
    masked = federate(tmp_path / "masked", CohortGrid(engine), settings, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(server.release.sums, "is_secured", lambda request, simulated: False)
        plain = federate(tmp_path / "plain", CohortGrid(engine), settings, monkeypatch)
    assert len(masked.totals) == len(plain.totals) > 1
    for one, other in zip(masked.totals, plain.totals, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(masked.adapter, plain.adapter)


@pytest.mark.parametrize("mode", ["moments", "distributed moments"])
def test_one_by_one_through_the_relay_gives_the_same_up_to_rounding(
    mode, engine, config, tmp_path, monkeypatch
):
    settings = config(**MODES[mode])
    found = {
        name: federate(tmp_path / name, grid(engine), settings, monkeypatch)
        for name, grid in GRIDS.items()
    }
    fast, slow = found["cohort"].totals, found["sequential"].totals
    assert len(fast) == len(slow) == 4
    np.testing.assert_array_equal(fast[0], slow[0])  # a histogram is not trained
    for one, other in zip(fast, slow, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


@pytest.mark.parametrize("grid", GRIDS)
def test_what_reaches_the_server_of_one_device_is_uniform(
    grid, engine, config, tmp_path, monkeypatch
):
    """A chi-square test of all masked numbers, by their upper four bits: false alarm 1e-6."""
    watched = Watched(GRIDS[grid](engine))
    settings = config(**MOMENTS)
    federate(tmp_path, watched, settings, monkeypatch)
    kinds = {message.metadata.message_type for message in watched.asked}
    stages = {f"query.{stage}" for stage in STAGES}
    assert kinds == stages | {"train", "query.histogram", "query.moments", "evaluate"}
    for kind in ("train", "query.histogram", "query.moments"):
        about = {"train": "update"}.get(kind, kind.removeprefix("query."))
        bits = summed_form(settings, USERS, about).ring.bits
        asked = {m.metadata.message_id: parse(m) for m in watched.asked}
        numbers = []
        for reply in watched.replies:
            request = asked[reply.metadata.reply_to_message_id]
            if request.message != kind:
                continue
            packed = reply.content.array_records["update"]["vector"].numpy()
            dim = packed.size * 8 // bits
            numbers.append(Ring(bits).unpack(packed.tobytes(), dim))
        counts = np.bincount(np.concatenate(numbers) >> (bits - 4), minlength=16)
        assert stats.chisquare(counts).pvalue > 1e-6, kind


@pytest.mark.parametrize("trust", ["central", "distributed"])
@pytest.mark.parametrize("kind", EARLY)
def test_a_device_that_goes_away_at_any_stage_is_left_out_of_the_sum(
    kind, trust, engine, config, tmp_path, monkeypatch
):
    """The sum is that of a run in which it is never reached."""
    privacy = {"trust": trust, "min_survivors": 0.5}
    settings = config(federation={"popularity_start": False}, privacy=privacy)
    away = {3, 7}
    late = kind in ("query.survivors", "query.unmask")  # then what it sent counts
    watched = Watched(CohortGrid(engine), losing(kind, away, 1))
    run = federate(tmp_path / "run", watched, settings, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(server.release.sums, "is_secured", lambda request, simulated: False)
        gone = set() if late else away
        expected = Watched(CohortGrid(engine), losing("train", gone, 1))
        other = federate(tmp_path / "other", expected, settings, monkeypatch)
    np.testing.assert_array_equal(run.totals[0], other.totals[0])
    assert run.outcome["history"][0]["participants"] == USERS - len(gone)


@pytest.mark.parametrize(
    "kind", ["query.keys", "query.seeds", "train", "query.survivors", "query.unmask"]
)
@pytest.mark.parametrize("trust", ["central", "distributed"])
def test_with_too_few_nothing_is_revealed_the_round_is_on_record_and_the_run_goes_on(
    kind, trust, engine, config, tmp_path, monkeypatch
):
    privacy = {"trust": trust, "min_survivors": 0.9 if trust == "central" else 0.75}
    settings = config(federation={"popularity_start": False}, privacy=privacy)
    monkeypatch.setattr(Replies, "check_some_counted", lambda self, what: None)  # as real ones
    away = set(range(2, 2 + USERS - (1 if kind == "query.unmask" else 4)))
    watched = Watched(CohortGrid(engine), losing(kind, away, 1))
    run = federate(tmp_path, watched, settings, monkeypatch)
    # A ledger without it could not be told from one that a line was taken out of.
    assert [(entry.round, entry.release) for entry in run.ledger.entries] == [
        (1, "update"),
        (2, "update"),
    ]
    alone = [np.zeros_like(run.totals[-1])] if trust == "central" else []  # noise, on nobody's sum
    assert len(run.totals) == len(alone) + 1
    np.testing.assert_array_equal(run.totals[: len(alone)], alone)
    unmasked = [
        m for m in watched.asked if parse(m).stage == "unmask" and parse(m).round_number == 1
    ]
    assert bool(unmasked) == (kind == "query.unmask")
    first = run.outcome["history"][0]
    assert (first["participants"], first["noise_norm"] > 0) == (0.0, trust == "central")


def test_the_record_is_written_before_anything_is_revealed(engine, config, tmp_path, monkeypatch):
    """Noise in shares: the event is on disk when the first device is asked to unmask."""
    settings = config(
        federation={"popularity_start": False},
        privacy={"trust": "distributed", "min_survivors": 0.5},
    )
    ledger = tmp_path / "ledger-point.jsonl"
    seen = []

    def look(message):
        request = parse(message)
        if request.stage in ("survivors", "unmask"):
            entries = Ledger.open(run_ledger()).entries
            seen.append((request.round_number, request.stage, len(entries)))
        return False

    def run_ledger():
        return next(tmp_path.rglob("*ledger*.jsonl")) if not ledger.exists() else ledger

    federate(tmp_path, Watched(CohortGrid(engine), look), settings, monkeypatch)
    assert {one[1:] for one in seen if one[0] == 1} == {("survivors", 0), ("unmask", 1)}


def test_a_cohort_too_small_to_hide_in_is_asked_for_nothing(engine, config, tmp_path, monkeypatch):
    """Central trust: the round is what one is with nobody in it, noise alone."""
    settings = config(federation={"popularity_start": False, "cohort": 6.0})
    form = summed_form(settings, USERS, "update")
    small = replace(form, sizes=(USERS + 1, USERS + 1))
    watched = Watched(CohortGrid(engine))
    with monkeypatch.context() as patch:
        patch.setattr(server.release.sums, "summed_form", lambda *about: small)
        run = federate(tmp_path, watched, settings, monkeypatch)
    assert {m.metadata.message_type for m in watched.asked} == {"evaluate"}
    assert not any(total.any() for total in run.totals)
    assert [entry.round for entry in run.ledger.entries] == [1, 2]
    assert load_file(run.files.adapter)
