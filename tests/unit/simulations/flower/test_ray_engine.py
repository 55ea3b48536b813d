"""How a machine is divided, in which order replies come, and what a simulated node is."""

import sys
from types import SimpleNamespace

import pytest
from flwr.app import Error, Message, RecordDict

from apps import client_app
from client.app import create_app, is_simulated
from shared.config import EngineConfig
from shared.errors import ConfigError, EngineError, ProtocolError, last_line
from simulations.flower.people_grid import PeopleGrid
from simulations.workers.ray_session import Share, share_of
from tests.support.asking import asked, letters
from tests.support.federations import point_config


@pytest.mark.parametrize(
    ("settings", "machine", "share"),
    [
        ({}, ("cpu", 4, 0), Share(4, 1, 0)),
        ({"cpus_per_client": 2}, ("cpu", 5, 0), Share(2, 2, 0)),
        ({"workers": 3}, ("cpu", 2, 0), Share(3, 1, 0)),
        ({}, ("cuda", 16, 1), Share(4, 1, 0.25)),
        ({"workers": 3}, ("cuda", 16, 1), Share(3, 1, 0.3333)),
        ({"gpus_per_client": 0.5}, ("cuda", 16, 2), Share(4, 1, 0.5)),
        ({"workers": 2}, ("cuda", 16, 4), Share(2, 1, 1.0)),
    ],
)
def test_a_machine_is_shared(settings, machine, share):
    assert share_of(EngineConfig(engine="ray", **settings), *machine) == share


@pytest.mark.parametrize(
    ("settings", "machine", "named"),
    [
        ({"cpus_per_client": 8}, ("cpu", 4, 0), "cpus_per_client = 8: this machine has 4"),
        ({"gpus_per_client": 0.5}, ("cpu", 4, 0), "gpus_per_client = 0.5: the device is cpu"),
        ({"gpus_per_client": 0.5, "workers": 3}, ("cuda", 4, 1), "workers = 3: 1 GPU"),
    ],
)
def test_a_machine_too_small_is_refused(settings, machine, named):
    with pytest.raises(ConfigError, match=named):
        share_of(EngineConfig(engine="ray", **settings), *machine)


class Slow:
    """A grid that answers one message per look, the latest first."""

    def __init__(self, error_at=None):
        self.waiting, self.most, self.error_at, self.asked = [], 0, error_at, []

    def push_messages(self, messages):
        for message in messages:
            message.metadata.__dict__["_message_id"] = f"m{message.metadata.dst_node_id}"
            self.waiting.append(message)
            self.asked.append(message.metadata.dst_node_id)
        self.most = max(self.most, len(self.waiting))
        return [message.metadata.message_id for message in messages]

    def pull_messages(self, message_ids):
        if not self.waiting:
            return []
        message = self.waiting.pop()
        if message.metadata.dst_node_id == self.error_at:
            why = Error(code=3, reason="trace\n  back\nwhy it failed\n")
            return [Message(why, reply_to=message)]
        return [Message(RecordDict(), reply_to=message)]


def ask(nodes):
    return [Message(RecordDict(), dst_node_id=node, message_type="train") for node in nodes]


@pytest.mark.usefixtures("flower")
def test_replies_come_in_order_and_few_are_under_way():
    slow, nodes = Slow(), [50, 7, 31, 8, 99, 12]
    people = [10 * node for node in nodes]
    grid = PeopleGrid(slow, nodes, people, window=2)
    replies = list(grid.send_and_receive(ask(people), timeout=0))
    assert [reply.metadata.src_node_id for reply in replies] == people
    assert sorted(slow.asked) == sorted(nodes)
    assert slow.most <= 2
    assert list(grid.get_node_ids()) == people


@pytest.mark.usefixtures("flower")
def test_a_virtual_device_that_fails_ends_the_run_and_says_why():
    grid = PeopleGrid(Slow(error_at=7), [5, 7], [1, 2])
    with pytest.raises(EngineError, match=r"^a virtual device failed: why it failed$"):
        list(grid.send_and_receive(ask([1, 2])))


@pytest.mark.usefixtures("flower")
def test_a_runtime_that_ended_is_not_waited_for():
    def ended():
        raise EngineError("the workers are gone")

    class Silent(Slow):
        def pull_messages(self, message_ids):
            return []

    with pytest.raises(EngineError, match="gone"):
        list(PeopleGrid(Silent(), [5], [5], check=ended).send_and_receive(ask([5])))


def test_the_last_line_of_an_error():
    assert last_line("Traceback\n  File\nValueError: what\n\n") == "ValueError: what"
    assert last_line("") == "no reason given"


def pretend(monkeypatch, initialised=True, actor="a1"):
    context = SimpleNamespace(get_actor_id=lambda: actor)
    ray = SimpleNamespace(is_initialized=lambda: initialised, get_runtime_context=lambda: context)
    monkeypatch.setitem(sys.modules, "ray", ray)


def test_only_an_actor_without_data_of_its_own_is_simulated(monkeypatch):
    virtual = {"partition-id": 3, "num-partitions": 9}
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    assert not is_simulated(virtual)  # a node whose owner forgot to name its device
    pretend(monkeypatch)
    assert is_simulated(virtual)
    assert not is_simulated(virtual | {"device": "/run/s"})
    pretend(monkeypatch, actor=None)
    assert not is_simulated(virtual)  # the process that started Ray
    pretend(monkeypatch, initialised=False)
    assert not is_simulated(virtual)


@pytest.mark.usefixtures("flower")
def test_a_device_without_data_gives_no_metric_and_opens_nothing(monkeypatch, tiny_bert):
    """Node configuration as in Flower's tutorials: the server must not choose what is opened."""
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    node = {"partition-id": 0, "num-partitions": 2}
    context = SimpleNamespace(node_id=5, node_config=node, run_config={})
    (message,) = ask([5])
    message.metadata.__dict__["_message_type"] = "evaluate"
    with pytest.raises(ProtocolError, match="could not answer"):  # nothing that a device reads
        client_app(message, context)
    (message,) = letters([5], asked(point_config(tiny_bert), "ranks"))
    fields = client_app(message, context).content.config_records["config"]
    assert fields["declined"] == "owner"


@pytest.mark.usefixtures("flower")
def test_a_virtual_persons_error_keeps_its_text_and_a_real_ones_does_not(monkeypatch, tiny_bert):
    def fail(context, request):
        raise ConfigError("model.backbone_sha256: is abc here")

    relay = create_app(fail)
    (message,) = letters([5], asked(point_config(tiny_bert)))
    context = SimpleNamespace(node_config={"partition-id": 0, "num-partitions": 2}, run_config={})
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    with pytest.raises(ProtocolError, match="could not answer; its own log says why"):
        relay(message, context)
    pretend(monkeypatch)
    with pytest.raises(ConfigError, match=r"model\.backbone_sha256"):
        relay(message, context)
