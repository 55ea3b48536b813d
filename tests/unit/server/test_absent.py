"""What a server on real nodes does, keeps and tells does not depend on who answered."""

import json
import math
import re

import numpy as np
import pytest
from flwr.app import Error, Message

import server.app
import server.federation
from client.messages import declined_reply, parse, update_reply
from server.checkpoint import load
from server.cohort.declined import read_declined
from server.cohort.silence import EXPECTED, Silence
from server.federation import run_federation
from server.grid import PromptGrid
from server.release.releases import Releases
from server.up.status import _HELP, metrics
from shared.errors import ConfigError, Declined, EngineError
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.policy.signed import load_policy
from shared.update import Update
from tests.unit.server.test_round import DIM, ITEMS, USERS, Canned, files, settings

pytestmark = pytest.mark.usefixtures("flower")


def gone(message, request):
    return Message(Error(code=3, reason="secret"), reply_to=message)


def declining(message, request):
    return declined_reply(
        message, Declined("spent 0.7 of 1.0", "owner"), message.metadata.dst_node_id
    )


class Reachable(Canned):
    """Nodes that answer in some rounds alone; in others nobody is there."""

    def __init__(self, rounds, answer=gone, users=USERS):
        super().__init__(users)
        self._rounds, self._other = rounds, answer

    def send_and_receive(self, messages, timeout=None):
        for number, message in enumerate(messages):
            message.metadata.__dict__["_message_id"] = str(number)
            about = message.content.config_records["config"]
            there = about["round"] in self._rounds
            request = parse(message)
            yield (self.good if there else self._other)(message, request)


@pytest.fixture
def summed_before(monkeypatch):
    """Histograms as where something adds them up before the server sees one."""
    monkeypatch.setattr(server.federation, "histogram_in_clear", lambda config: False)


def deployed(folder, grid, config, **arguments):
    found = files(folder)
    return run_federation(grid, config, found, simulated=False, **arguments), found


@pytest.mark.parametrize("other", [gone, declining], ids=["gone", "declining"])
def test_a_round_that_nobody_answers_is_recorded_noised_and_gone_on_from(other, tmp_path):
    config = settings(federation={"rounds": 3, "cohort": 1.0})
    outcome, found = deployed(tmp_path, Reachable({1, 3}, other), config)
    assert outcome["rounds"] == 3
    assert [entry.round for entry in Ledger.open(found.ledger).entries] == [1, 2, 3]


def test_one_switched_off_device_that_was_drawn_alone_ends_no_run(tmp_path):
    """Nor does it look different from a round whose cohort was empty."""
    config = settings(federation={"rounds": 2, "cohort": 1.0})
    outcome, _ = deployed(tmp_path, Reachable({2}, users=1), config, policy=1)
    assert outcome["rounds"] == 2


def test_a_validation_that_nobody_answers_is_gone_on_from(tmp_path):
    def answer(message, request):
        kind = declining if message.metadata.message_type == "evaluate" else Canned().good
        return kind(message, request)

    config = settings(math.inf, federation={"rounds": 2, "cohort": 1.0, "evaluate_every": 1})
    outcome, _ = deployed(tmp_path, Canned(answer=answer), config)
    assert outcome["rounds"] == 2


def test_a_histogram_that_nobody_answers_is_gone_on_from(summed_before, tmp_path):
    config = settings(federation={"popularity_start": True, "rounds": 2, "cohort": 1.0})
    _, found = deployed(tmp_path, Reachable({1, 2}), config)
    assert [entry.round for entry in Ledger.open(found.ledger).entries] == [0, 1, 2]


@pytest.mark.parametrize("other", [gone, declining], ids=["gone", "declining"])
def test_a_stretch_that_brings_nothing_stops_the_run_in_clear_words(other, tmp_path):
    config = settings(federation={"rounds": 9, "cohort": 1.0})
    with pytest.raises(EngineError) as caught:
        deployed(tmp_path, Reachable({1}, other), config)
    said = str(caught.value)
    assert said.startswith("rounds 2 to 4: no update counted, of about 24 expected (")
    assert "24 a client" not in said  # how many were asked is nobody's to know
    assert "it goes on with round 5" in said
    assert not re.search("secret|0.7", said)
    found = files(tmp_path)
    assert not found.adapter.exists()
    assert len(Ledger.open(found.ledger)) == 4  # spent, and said so
    outcome = run_federation(Canned(), config, found, simulated=False)  # they are back
    assert outcome["rounds"] == 9


def test_a_short_run_that_holds_nothing_at_all_is_no_success(tmp_path):
    with pytest.raises(EngineError, match=r"rounds 1 to 2: no update counted.* start anew"):
        deployed(tmp_path, Reachable(set()), settings(federation={"rounds": 2, "cohort": 1.0}))
    found = files(tmp_path)
    with pytest.raises(EngineError, match="this run ended on rounds that held nothing"):
        run_federation(
            Canned(), settings(federation={"rounds": 2, "cohort": 1.0}), found, simulated=False
        )
    assert not found.adapter.exists()


def test_a_run_that_is_started_again_and_holds_nothing_from_there_on_is_no_success(tmp_path):
    config = settings(federation={"rounds": 5, "cohort": 1.0})
    found = files(tmp_path)

    def interrupted(entry):
        if entry["round"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_federation(Reachable({2}), config, found, simulated=False, on_round=interrupted)
    with pytest.raises(EngineError, match="rounds 4 to 5: no update counted"):
        run_federation(Reachable(set()), config, found, simulated=False)


@pytest.mark.parametrize(
    "made_up", [b"PK\x03\x04", b"\x93NUMPY\x01\x00\x00\x00{"], ids=["zip", "header"]
)
def test_one_reply_that_cannot_be_read_ends_no_run(made_up, tmp_path):
    """Whatever reading it raises: an archive that is none, a header without an end."""

    def answer(message, request):
        reply = Canned().good(message, request)
        if message.metadata.dst_node_id == 2:
            array = reply.content.array_records["update"]["vector"]
            array.data = made_up
        return reply

    outcome, _ = deployed(
        tmp_path, Canned(answer=answer), settings(federation={"rounds": 2, "cohort": 1.0})
    )
    assert outcome["rounds"] == 2


def test_few_expected_answers_are_no_stretch():
    """Under small cohorts silence is chance, and whose device is off must not show."""
    quiet = Silence(100)
    for number in range(1, 10):
        quiet.heard(number, EXPECTED / 10, 0, [])
    quiet.heard(10, EXPECTED / 10, 1, [])
    for number in range(11, 20):
        quiet.heard(number, EXPECTED / 10, 0, [])
    with pytest.raises(EngineError, match=r"rounds 11 to 20: .*nobody replied"):
        quiet.heard(20, EXPECTED / 10, 0, [])


def test_a_simulation_in_which_all_fail_ends_in_its_first_round(tmp_path):
    found = files(tmp_path)
    with pytest.raises(EngineError, match="round 1: no update counted: a client failed"):
        run_federation(Reachable(set()), settings(), found, simulated=True)
    assert len(Ledger.open(found.ledger)) == 0


def told_of(folder, monkeypatch, answer=None):
    """All that a deployment keeps and tells: files, its log, the entries of rounds."""
    folder.mkdir()
    lines, entries, found = [], [], files(folder)
    monkeypatch.setattr(server.app, "log", lambda level, *words: lines.append(words[-1]))
    monkeypatch.setattr(Releases, "release", lambda self, kind, total, number: np.ones(len(total)))

    def listen(entry):
        entries.append(dict(entry))
        server.app.report_round(entry)

    config = settings(federation={"rounds": 3, "cohort": 1.0})
    grid = Canned(answer=answer)
    outcome = run_federation(grid, config, found, simulated=False, on_round=listen)
    state = load(found.checkpoint)
    kept = {name: value for name, value in vars(state).items() if not isinstance(value, np.ndarray)}
    kept |= {"ledger": None, "optimizer": sorted(state.optimizer)}
    return json.dumps([lines, entries, kept, outcome, json.loads(found.outcome.read_text())])


def test_files_and_log_are_the_same_whoever_answered(tmp_path, monkeypatch):
    """With the releases held fixed: their noise is all that may depend on a cohort."""
    canned = Canned()

    def half(message, request):
        return (canned.good if message.metadata.dst_node_id % 2 else gone)(message, request)

    def long(message, request):
        if message.metadata.dst_node_id % 2:
            return canned.good(message, request)
        vector = np.full(DIM, 0.731, dtype=np.float32)
        return update_reply(
            message, Update(vector, 1.0, 2.193, request.schema), [message.metadata.dst_node_id]
        )

    whole, some, refused = (
        told_of(tmp_path / str(number), monkeypatch, answer)
        for number, answer in enumerate((None, half, long))
    )
    assert whole == some == refused
    for word in ("participants", "failures", 'norm": ', "seconds", "hr@10"):
        assert word not in whole.replace("clipping_norm", ""), word


def test_a_run_rests_on_the_users_that_were_agreed(tmp_path):
    """More may be connected: each is asked with the same probability, the ledger's."""
    config = settings(federation={"rounds": 40, "cohort": 4.0})
    grid = Canned(users=16)
    outcome, found = deployed(tmp_path, grid, config, policy=8)
    assert load_policy(found.policy, None).users == 8
    assert outcome["cohort"] == 4
    (event,) = {str(entry.event) for entry in Ledger.open(found.ledger).entries}
    assert "sampling_probability=0.5" in event
    sizes = [len(cohort) for cohort in grid.cohorts]
    assert 7 < np.mean(sizes) < 9  # half of 16, not 4


def test_a_run_does_not_start_with_fewer_than_agreed_and_goes_on_with_fewer(tmp_path):
    config = settings(federation={"rounds": 3, "cohort": 1.0})
    with pytest.raises(
        ConfigError, match="7 clients are connected, and the run rests on users = 8"
    ):
        deployed(tmp_path / "few", Canned(users=7), config, policy=8)
    assert not files(tmp_path / "few").ledger.exists()

    class Leaving(Canned):
        def send_and_receive(self, messages, timeout=None):
            self.nodes = self.nodes[:3]
            return super().send_and_receive(messages, timeout)

    outcome, found = deployed(tmp_path / "leaving", Leaving(), config)
    assert outcome["rounds"] == 3
    assert load_policy(found.policy, None).users == USERS


def test_a_lost_node_leaves_the_policy_of_a_continued_run_as_it_was(tmp_path):
    config = settings(federation={"rounds": 3, "cohort": 1.0})

    class Stop(Exception):
        pass

    def stop(entry):
        raise Stop

    found = files(tmp_path)
    with pytest.raises(Stop):
        run_federation(Canned(), config, found, simulated=False, on_round=stop)
    text = found.policy.read_text()
    outcome = run_federation(Canned(users=USERS - 1), config, found, simulated=False)
    assert outcome["rounds"] == 3
    assert found.policy.read_text() == text
    with pytest.raises(ConfigError, match=f"users = 7: this run began with {USERS}"):
        run_federation(Canned(), config, found, simulated=False, policy=7)


def test_a_policy_names_its_users(tmp_path):
    with pytest.raises(ConfigError, match="policy and users: give one"):
        server.app.serve(
            Canned(),
            {"config": "c", "directory": str(tmp_path), "name": "p", "policy": "p", "users": 3},
        )


def test_the_bytes_are_a_formula(summed_before, tmp_path):
    config = settings(federation={"popularity_start": True, "popularity_cohort": 0.5})
    outcome, _ = deployed(tmp_path, Canned(), config)
    assert outcome["communication_bytes"] == {
        "up": 4 * (3 * 4 * DIM + USERS // 2 * ITEMS),
        "down": 4 * 3 * 4 * DIM,
    }


class Pushed(Canned):
    """Nodes as Flower's grid has them: asked first, and looked for until they have answered."""

    def push_messages(self, messages):
        self.replies = list(super().send_and_receive(messages))
        return [reply.metadata.reply_to_message_id for reply in self.replies]

    def pull_messages(self, message_ids):
        first, self.replies = self.replies[:1], self.replies[1:]
        return first


def test_who_runs_a_server_is_told_how_many_declined_and_by_which_word(tmp_path):
    """In a file of its own; what the run keeps is the same without it, as it is above."""
    canned, words = Canned(), {11: "owner", 12: "owner", 13: "policy", 14: "of its own making"}

    def answer(message, request):
        node = message.metadata.dst_node_id
        if node not in words or request.round_number == 2:
            return canned.good(message, request)
        return declined_reply(message, Declined("spent 0.7 of 1.0", words[node]), node)

    config = settings(federation={"rounds": 3, "cohort": 1.0})
    counts, told = {"policy": 1, "owner": 2, "other": 1}, tmp_path / "declined.json"
    grid = PromptGrid(Pushed(answer=answer), str(told))
    deployed(tmp_path, grid, config)
    found = read_declined(told)
    assert found.pop(0, counts) == counts  # where a histogram is asked for
    assert found == {1: counts, 3: counts}
    assert all(name not in told.read_text() for name in ("0.7", "making", "node"))
    status = dict.fromkeys(("nodes", "released_metrics"), ()) | {"declined": {"3": counts}}
    assert 'starling_declined{round="3",word="owner"} 2' in metrics(dict.fromkeys(_HELP) | status)


def test_counts_that_are_none_are_refused(tmp_path):
    (tmp_path / "declined.json").write_text('{"1": 2}')
    with pytest.raises(ConfigError, match="damaged"):
        read_declined(tmp_path / "declined.json")
