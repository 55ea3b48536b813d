"""Devices in processes of their own: what a bundle's relay can ask of them, and nothing more."""

import contextlib
import socket
import struct
import time

import pytest
from safetensors.numpy import load_file

import client.device.agreement
import client.device.device
from apps import client_app
from client.device.agreement import Agreement
from client.link import MAGIC, MOST_BYTES, VERSION, Frame, receive
from server.federation import run_federation
from server.prepare import prepare
from shared.errors import ProtocolError
from shared.privacy.ledger.ledger import Ledger
from shared.run_files import run_files
from tests.support.command import command
from tests.support.federations import point_config
from tests.support.privacy.policies import agreed
from tests.support.running.devices import Served
from tests.support.running.nodes import (
    USERS,
    Loopback,
    Node,
    begun,
    declined,
    model_of,
    request,
    schema_of,
    write_log,
)

pytestmark = pytest.mark.usefixtures("flower")
APART = 2  # so many of the nodes have a process of their own


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return str(write_log(tmp_path_factory.mktemp("log")))


@pytest.fixture(scope="module")
def devices(log, own_folders, tmp_path_factory):
    """Resident ones, which tests share: each test has settings, and so a record, of its own."""
    folder = tmp_path_factory.mktemp("devices")
    started = [Served(folder, log, user).start() for user in range(APART)]
    with contextlib.ExitStack() as stack:
        for device in started:
            stack.callback(device.end)
        yield [device.ready() for device in started]


@pytest.fixture
def grid(devices, log, tmp_path):
    """All nodes: the first have processes, the others are in this one."""
    others = [Node(tmp_path, log, user) for user in range(APART, USERS)]
    nodes = [*devices, *others]
    for node in nodes:
        node.caps("epsilon = inf")
    return Failing(nodes)


class Failing(Loopback):
    """Nodes; before a message reaches one of them something may happen."""

    def __init__(self, nodes):
        super().__init__(nodes)
        self.happens, self.asked = {}, []

    def send_and_receive(self, messages, timeout=None):
        from flwr.app import Error, Message

        for message in messages:
            about = message.metadata
            self.asked.append(about.message_type)
            self.happens.pop((about.message_type, about.dst_node_id), lambda: None)()
            try:
                yield from super().send_and_receive([message], timeout)
            except ProtocolError:  # as Flower tells a server
                yield Message(Error(code=1), reply_to=message)


def settings_of(tiny_bert, seed, epsilon=float("inf")):
    federation = {"rounds": 1, "cohort": 1.0, "secure_aggregation": "auto"}
    privacy = {"delta": 1e-2, "colluding": 0.0}
    return point_config(tiny_bert, epsilon, federation=federation, privacy=privacy, seed=seed)


def ran(folder, log, grid, settings):
    files = run_files(folder, str(prepare(model_of(log, settings.model), settings, folder)["name"]))
    run_federation(grid, settings, files, simulated=False)
    return files


def single(log, tmp_path, tiny_bert, seed):
    """A request for an update, of which nothing is summed securely, as an honest server asks."""
    settings = point_config(
        tiny_bert,
        federation={"rounds": 40, "cohort": 1.0, "popularity_start": False},
        privacy={"delta": 1e-2},
        seed=seed,
    )
    model = schema_of(log, settings)
    return request(model, settings, 1, agreed(settings, USERS, model.digest))


@pytest.fixture
def getting(request):
    """Fixtures, later."""
    return request.getfixturevalue


@pytest.fixture
def hostile(monkeypatch):
    """An edited bundle: in the relay's process nothing is asked, checked or recorded any more."""

    @contextlib.contextmanager
    def admitted(self, *_):
        yield

    monkeypatch.setattr(Agreement, "admitted", admitted)
    monkeypatch.setattr(Agreement, "foresee", lambda *_: None)
    monkeypatch.setattr(client.device.device, "bounded", lambda delta, *_: (delta, 0.0))
    monkeypatch.setattr(client.device.agreement, "load_caps", lambda *_: pytest.fail("opened"))


def test_an_edited_bundle_gets_from_a_paused_device_what_an_honest_one_gets(
    devices, log, tmp_path, tiny_bert, hostile
):
    asked = single(log, tmp_path, tiny_bert, 1)
    bare = Node(tmp_path, log, 0)
    bare.caps("pause = true")
    assert not declined(bare.answer(asked))  # where the bundle's code is the gate there is none
    devices[0].caps("pause = true")
    assert declined(devices[0].answer(asked)) == "owner"
    assert set(devices[0].answer(asked).content) == {"config"}
    assert "its owner has paused it" in devices[0].output.read_text()
    assert "its owner has paused it" not in "".join(devices[0].log)
    devices[0].caps("epsilon = 1e-9")
    assert declined(devices[0].answer(asked)) == "owner"
    assert devices[0].rounds == []


def test_an_edited_bundle_gets_the_update_that_an_honest_one_gets(
    log, tmp_path, tiny_bert, getting
):
    """And a device that its owner ends leaves no socket behind."""
    device = Served(tmp_path / "apart", log, 2).start()
    honest = Node(tmp_path, log, 2)
    asked = single(log, tmp_path, tiny_bert, 2)
    wanted = honest.answer(asked).content
    device.ready()
    getting("hostile")
    try:
        found = device.answer(asked).content
    finally:
        ended = device.end()
    assert found == wanted
    assert set(found) == {"update", "metrics", "config"}
    assert device.rounds == [1]
    assert ended == (0, [])


def test_a_run_over_device_processes_releases_what_it_does_without(grid, log, tmp_path, tiny_bert):
    settings = settings_of(tiny_bert, 3)
    (tmp_path / "without").mkdir()
    others = [Node(tmp_path / "without", log, user) for user in range(USERS)]
    for node in others:
        node.caps("epsilon = inf")
    without = ran(tmp_path / "b", log, Failing(others), settings)
    beside = ran(tmp_path / "a", log, grid, settings)
    assert {"query.keys", "query.unmask"} <= set(grid.asked)  # secure sums
    assert not any(grid.said)  # nobody declined
    for file in ("adapter", "checkpoint"):  # the sums of histograms and moments, too
        wanted, found = (load_file(getattr(files, file)) for files in (without, beside))
        assert found.keys() == wanted.keys() > set()
        assert all((found[name] == wanted[name]).all() for name in wanted)
    for device, other in zip(list(grid.nodes.values())[:APART], others, strict=False):
        assert entries(device)[-3:] == entries(other)


def test_one_killed_in_the_middle_of_a_sum_is_left_out_and_serves_again(
    grid, devices, log, tmp_path, tiny_bert
):
    settings = settings_of(tiny_bert, 4)
    gone = devices[0]
    grid.happens["query.histogram", gone.number] = gone.kill
    files = ran(tmp_path / "run", log, grid, settings)
    kinds = [entry.release for entry in Ledger.open(files.ledger).entries]
    assert kinds == ["histogram", "moments", "update"]  # each released, without it
    assert gone.socket.exists()  # nobody removed it: it is taken over
    gone.start()
    while gone.output.read_text().count("serving") < 2:
        assert gone.process.poll() is None, gone.output.read_text()
        time.sleep(0.05)
    before = len(entries(gone))
    ran(tmp_path / "again", log, grid, settings_of(tiny_bert, 5))
    assert entries(gone)[before:] == [
        ("histogram", 0),
        ("moments", 0),
        ("update", 1),
    ]
    assert not any(grid.said)


def entries(device):
    """What a device recorded, run after run."""
    files = sorted(device.state.glob("participation*"), key=lambda file: file.stat().st_mtime_ns)
    ledgers = [Ledger.open(file) for file in files]
    return [(entry.release, entry.round) for ledger in ledgers for entry in ledger.entries]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack("!4sBBQ", MAGIC, VERSION, 1, 2**63),
        struct.pack("!4sBBQ", MAGIC, VERSION, 1, MOST_BYTES + 1),
        struct.pack("!4sBBQ", MAGIC, VERSION + 1, 1, 8),
        Frame(1, {"message": "train", "node": "2"}).pack(),
        Frame(1, {"message": "train", "node": "2"}).pack()[:-3],
        Frame(4, {}, b"a letter").pack(),
        b"",
    ],
)
def test_what_is_no_request_is_told_so_and_the_next_one_is_answered(sent, devices):
    """Two connections at once, too: the second waits for its turn."""
    with connected(devices[1]) as waiting, connected(devices[1]) as second:
        waiting.sendall(sent)
        waiting.shutdown(socket.SHUT_WR)
        second.sendall(Frame(1, {}).pack())
        assert receive(waiting).kind == 6
        assert receive(second).kind == 6
    assert devices[1].process.poll() is None


def connected(device):
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.connect(str(device.socket))
    return link


def test_a_state_is_served_once_and_a_socket_is_nobody_elses(devices, log, tmp_path):
    served = devices[1]
    again = command("client", "serve", "--state", served.state)
    assert (again.code, "another process is at work" in again.err) == (2, True)
    begun(tmp_path / "state", log, 1)
    words = ("client", "serve", "--state", tmp_path / "state", "--socket", served.socket)
    taken = command(*words)
    assert (taken.code, "another process listens there" in taken.err) == (2, True)
    served.place.chmod(0o755)
    open_to_all = command(*words)
    served.place.chmod(0o700)
    assert (open_to_all.code, "chmod it to 700" in open_to_all.err) == (2, True)


@pytest.mark.parametrize(
    ("configured", "said"),
    [
        ({"data": "mine.csv", "user": "u0", "device": "s"}, "data, user: a device's process alone"),
        ({"data": "mine.csv", "state": "/s"}, "data, state: a device's process alone is to know"),
        ({"evaluator": True, "device": "s"}, "evaluator: a device's process alone"),
        ({}, "name device=SOCKET, see starling client serve"),
        ({"partition-id": 0, "num-partitions": 2}, "name device=SOCKET"),
        ({"device": "s"}, "give a full path"),
        ({"device": "HERE/s"}, "no device's process answers"),
    ],
)
def test_a_relay_knows_the_socket_alone(configured, said, log, tmp_path, tiny_bert):
    """Whatever else its configuration names would lie open to what it runs."""
    settings = settings_of(tiny_bert, 6)
    asked = request(schema_of(log, settings), settings, 1, "")
    tmp_path.chmod(0o700)
    node = Relayed(tmp_path, log, 0)
    node.configured = {
        name: value.replace("HERE", str(tmp_path)) if isinstance(value, str) else value
        for name, value in configured.items()
    }
    with pytest.raises(ProtocolError, match="its own log says why"):
        node.answer(asked)
    assert said in node.log[-1]


class Relayed(Node):
    """Asked through the bundle's own relay."""

    def relay(self):
        return client_app

    def node(self):
        return self.configured
