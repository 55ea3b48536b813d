"""Real devices in secure sums, as they are by default: relay, gate, keys, and the server above."""

import contextlib
import json

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Error, Message, RecordDict
from safetensors.numpy import load_file

from client.secagg.identity import IDENTITY
from server.federation import run_federation
from server.prepare import prepare
from shared.data.sources import open_log
from shared.errors import EngineError, ProtocolError
from shared.privacy.contribution.histogram import user_histogram
from shared.privacy.ledger.ledger import Ledger
from shared.request import Request
from shared.run_files import run_files
from tests.support.command import command
from tests.support.federations import point_config
from tests.support.running.nodes import (
    USERS,
    Loopback,
    Node,
    model_of,
    request,
    schema_of,
    write_log,
)

pytestmark = pytest.mark.usefixtures("flower")

# What is asked for, in every way in which real devices are summed.
MODES = {
    "central": {},
    "moments": {"model": {"moments_rank": 2}, "privacy": {"moments_share": 0.3}},
    "statistics": {
        "privacy": {"metrics_share": 0.2, "adaptive_clipping": 0.5},
        "federation": {"metrics_every": 1},
    },
    "correlated": {"privacy": {"mechanism": "dp_ftrl"}},
    "distributed": {"privacy": {"trust": "distributed"}},
    "without rounds": {"federation": {"rounds": 0}},
}


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return str(write_log(tmp_path_factory.mktemp("log")))


@pytest.fixture
def config(tiny_bert):
    def make(**sections):
        federation = {"rounds": 2, "cohort": 1.0, "secure_aggregation": "auto"}
        sections["federation"] = federation | sections.get("federation", {})
        sections["privacy"] = {"delta": 1e-2} | sections.get("privacy", {})
        return point_config(tiny_bert, **sections)

    return make


class Failing(Loopback):
    """Nodes to some of which something happens when a message reaches them."""

    def __init__(self, nodes, happens=()):
        super().__init__(nodes)
        self.happens = dict(happens)  # (type, node) -> whether the node is killed, or restarted

    def send_and_receive(self, messages, timeout=None):
        for message in messages:
            at = message.metadata.message_type, message.metadata.dst_node_id
            if at in self.happens:
                if self.happens.pop(at) == "killed":
                    self.nodes.pop(at[1])
                else:
                    self.nodes[at[1]].restart()
            try:
                yield from super().send_and_receive([message], timeout)
            except (ProtocolError, KeyError):  # as Flower tells a server
                yield Message(Error(code=1), reply_to=message)


def prepared(folder, log, settings):
    """A run's files as whoever starts one makes them."""
    made = prepare(model_of(log, settings.model), settings, folder)
    return run_files(folder, str(made["name"]))


@pytest.mark.parametrize("mode", MODES)
def test_a_run_over_real_devices_is_one_that_verify_takes(mode, log, config, tmp_path):
    settings = config(**MODES[mode])
    nodes = [Node(tmp_path, log, user) for user in range(USERS)]
    files = prepared(tmp_path / "run", log, settings)
    outcome = run_federation(Failing(nodes), settings, files, simulated=False)
    assert outcome["rounds"] == settings.federation.rounds
    kinds = [entry.release for entry in Ledger.open(files.ledger).entries]
    assert kinds.count("update") == settings.federation.rounds
    assert "histogram" in kinds
    for node in nodes:
        assert set(node.rounds) - {0} == set(range(1, settings.federation.rounds + 1))
        assert (node.state / IDENTITY).stat().st_mode & 0o077 == 0
        assert not node.resident.in_sum()  # no key outlives its sum
    done = command("verify", tmp_path / "run")
    assert done.code in (0, 4), done.out + done.err
    assert "mismatch" not in done.out.lower()


STAGES = ("query.keys", "query.seeds", "query.histogram", "query.survivors")


@pytest.mark.parametrize("happens", ["killed", "restarted"])
@pytest.mark.parametrize("stage", STAGES)
def test_who_is_gone_in_the_middle_is_left_out_and_the_run_goes_on(
    stage, happens, log, config, tmp_path
):
    """Without noise: the histogram is exactly that of those who were left, at every stage."""
    settings = config(epsilon=float("inf"), federation={"rounds": 1}, privacy={"colluding": 0.0})
    nodes = [Node(tmp_path, log, user) for user in range(USERS)]
    for node in nodes:
        node.caps("epsilon = inf")
    files = prepared(tmp_path / "run", log, settings)
    gone = 3
    grid = Failing(nodes, {(stage, gone): happens})
    run_federation(grid, settings, files, simulated=False)
    people = open_log(log)
    # One that is asked to begin has nothing to lose yet, and who has sent is in the sum.
    stays = stage == "query.survivors" or (stage == "query.keys" and happens == "restarted")
    left = [u for u in range(USERS) if stays or u + 2 != gone]
    expected = sum(user_histogram(people.history(user), 8) for user in left)
    found = load_file(files.checkpoint)["popularity"]
    np.testing.assert_allclose(found, expected, atol=USERS * 2.0**-23)


@pytest.mark.parametrize("mode", ["central", "distributed"])
@pytest.mark.parametrize("lost", ["histogram", "update"])
def test_a_run_verifies_of_which_a_sum_was_not_opened(lost, mode, log, config, tmp_path):
    """Its round is on record, or its ledger would have a gap; what is asked for once is not."""
    settings = config(**MODES[mode])
    nodes = [Node(tmp_path, log, user) for user in range(USERS)]
    files = prepared(tmp_path / "run", log, settings)
    stage = {"histogram": "query.histogram", "update": "train"}[lost]
    gone = {(stage, node.number): "restarted" for node in nodes[1:]}
    run_federation(Failing(nodes, gone), settings, files, simulated=False)
    kinds = [entry.release for entry in Ledger.open(files.ledger).entries]
    assert kinds.count("update") == settings.federation.rounds
    assert ("histogram" in kinds) is (lost == "update")
    done = command("verify", tmp_path / "run")
    assert done.code in (0, 4), done.out + done.err
    assert "mismatch" not in done.out.lower()


def test_a_device_that_was_restarted_tells_nothing_of_the_sum_it_was_in(log, config, tmp_path):
    settings = config()
    node = Node(tmp_path, log, 0)
    model = schema_of(log, settings)
    asked = request(model, settings, 1, "")
    asked.metadata.__dict__["_message_type"] = "query.unmask"
    asked.content["config"]["release"] = "update"
    asked.content["config"]["content"] = ""
    with pytest.raises(ProtocolError, match="its own log says why"):
        node.answer(asked)
    assert "this device is in no sum" in node.log[-1]


def test_a_roster_says_whom_a_device_is_summed_with(log, config, tmp_path):
    """Everybody's but one: those who do not know that one take no part with it."""
    settings = config(federation={"rounds": 0})
    nodes = [Node(tmp_path, log, user) for user in range(USERS)]
    keys = [command("client", "identity", node.state).out.strip() for node in nodes]
    assert len(set(keys)) == USERS
    roster = tmp_path / "roster.txt"
    roster.write_text("# of all of us\n" + "\n".join(keys) + "\n")
    for node in nodes:
        node.own('roster = ""', f'roster = "{roster}"')
    files = prepared(tmp_path / "run", log, settings)
    run_federation(Failing(nodes), settings, files, simulated=False)
    assert len(load_file(files.popularity)["counts"]) == 8
    other = command("client", "identity", nodes[5].state, "--json")
    assert json.loads(other.out) == {"identity": keys[5]}
    roster.write_text("\n".join(keys[:5]) + "\n")
    again = prepared(tmp_path / "again", log, settings)
    with pytest.raises(Exception, match="no popularity histogram was released"):
        run_federation(Failing(nodes), settings, again, simulated=False)
    assert not Ledger.open(again.ledger).entries  # nothing was spent on it


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "roster of 0 devices"),
        ("ab\n", "line 1: expected a device's public key"),
        (None, "cannot be read"),
    ],
)
def test_a_roster_that_is_none_is_told_to_the_owner(text, said, log, config, tmp_path):
    settings, node = config(), Node(tmp_path, log, 0, roster=str(tmp_path / "roster.txt"))
    if text is not None:
        (tmp_path / "roster.txt").write_text(text)
    model = schema_of(log, settings)
    asked = request(model, settings, 1, "")
    asked.metadata.__dict__["_message_type"] = "query.keys"
    asked.content["config"]["release"] = "update"
    asked.content["config"]["content"] = ""
    with pytest.raises(Exception, match="its own log says why"):
        node.answer(asked)
    assert said in node.log[-1]


def test_the_class_of_a_request_knows_its_stages():
    with pytest.raises(Exception, match="message type"):
        Request.read("query.nothing", {}, {})


def test_no_device_gives_to_a_second_sum_of_a_round_what_it_gave_to_the_first(
    log, config, tmp_path
):
    """One with everybody and one without somebody would differ by what that one added."""
    settings = config(federation={"rounds": 1})
    nodes = [Node(tmp_path, log, user) for user in range(USERS)]
    files = prepared(tmp_path / "run", log, settings)
    grid = Recording(nodes)
    run_federation(grid, settings, files, simulated=False)
    keys = [m for m in grid.asked if m.metadata.message_type == "query.keys"]
    for asked in keys:
        again = Message(asked.content, asked.metadata.dst_node_id, asked.metadata.message_type)
        again.metadata.__dict__["_message_id"] = "again"
        node = grid.nodes[asked.metadata.dst_node_id]
        why = node.refusal(again)
        assert "declined" in why
        kinds = {"histogram": "as often as agreed", "update": "as often as agreed"}
        assert kinds[asked.content["config"]["release"]] in why
    # A policy for two rounds leaves room in the first for no second sum of it either.
    two = config(federation={"rounds": 2})
    (tmp_path / "two").mkdir()
    more = [Node(tmp_path / "two", log, user) for user in range(USERS)]
    other = Recording(more)
    run_federation(other, two, prepared(tmp_path / "other", log, two), simulated=False)
    first = [m for m in other.asked if m.content["config"]["round"] == 1]
    state = more[0].state / "participation.jsonl"
    entries = state.read_bytes().splitlines(keepends=True)
    state.write_bytes(b"".join(entries[:-1]))  # as after the first round
    again = Message(first[0].content, 2, "query.keys")
    again.metadata.__dict__["_message_id"] = "again"
    assert "is in a sum of that already" in more[0].refusal(again)


class Recording(Failing):
    """Keeps what was asked."""

    def __init__(self, nodes):
        super().__init__(nodes)
        self.asked = []

    def send_and_receive(self, messages, timeout=None):
        kept = list(messages)
        self.asked += kept
        yield from super().send_and_receive(kept, timeout)


class Tampering(Recording):
    """Sends some nodes another adapter, or other coordinates, than the rest."""

    def __init__(self, nodes, kind, told):
        super().__init__(nodes)
        self.kind, self.told = kind, told

    def send_and_receive(self, messages, timeout=None):
        yield from super().send_and_receive([self.made(one) for one in messages], timeout)

    def made(self, message):
        about = message.metadata
        if (about.message_type, about.dst_node_id in self.told) != (self.kind, True):
            return message
        arrays = message.content.array_records["arrays"]
        zero = {name: Array(array.numpy() * 0) for name, array in arrays.items()}
        content = RecordDict({**message.content, "arrays": ArrayRecord(zero)})
        return Message(content, dst_node_id=about.dst_node_id, message_type=about.message_type)


@pytest.mark.parametrize("kind", ["query.moments", "train", "query.metrics"])
@pytest.mark.parametrize("told", [{2}, set(range(3, 2 + USERS))], ids=["one", "all but one"])
def test_who_is_sent_something_else_is_in_another_sum(kind, told, log, config, tmp_path):
    """Else what all others add could be made nothing, and the sum be one person's."""
    settings = config(
        model={"moments_rank": 2},
        privacy={"moments_share": 0.2, "metrics_share": 0.2},
        federation={"metrics_every": 1},
    )
    nodes = [Node(tmp_path, log, user) for user in range(USERS)]
    files = prepared(tmp_path / "run", log, settings)
    grid = Tampering(nodes, kind, told)
    with contextlib.suppress(EngineError):  # on rounds in which nobody counted
        run_federation(grid, settings, files, simulated=False)
    for node in grid.nodes.values():
        assert ("of another sum" in " ".join(node.log)) is (node.number in told)
    kinds = [entry.release for entry in Ledger.open(files.ledger).entries]
    word = {"train": "update"}.get(kind, kind.removeprefix("query."))
    # Else too few were left, and nothing was opened: of which a round's record has no gap.
    assert (word in kinds) is (len(told) == 1 or word == "update")
