"""Real devices in this process: what an owner makes, what a server sends, a grid of them."""

from functools import lru_cache
from types import SimpleNamespace

import pytest
from flwr.app import Context, Message, RecordDict
from safetensors.numpy import save_file

import client.app
from client.app import create_app
from client.device.folder import SETTINGS, DeviceFolder, Owned
from client.device.resident import Resident
from client.store import interactions_of
from shared.data.sources import open_items, open_log
from shared.errors import DECLINED
from shared.model.adapter import AdapterSchema
from shared.model.sources.choice import build, find
from shared.privacy.ledger.ledger import Ledger
from shared.run_files import run_files
from tests.support.asking import asked, letters
from tests.support.persons import owners
from tests.support.privacy.policies import operator
from tests.support.tiny import random_adapter

USERS = 6


def write_log(folder, people=USERS):
    """A log of so many people and eight items; nobody's history is another's."""
    rows = [f"u{u},{'abcdefgh'[(u + t * t) % 8]},{t}" for u in range(people) for t in range(6)]
    (folder / "interactions.csv").write_text("\n".join(["user,item,timestamp", *rows, ""]))
    items = "\n".join(f"{item},Text of {item * 3}" for item in "abcdefgh")
    (folder / "items.csv").write_text(f"item,text\n{items}\n")
    return folder


def begun(state, log, user, **owned):
    """The folder of a device whose person is in a log, as its owner makes it; lenient caps."""
    name, catalogue = f"u{user}", open_items(log)
    folder = DeviceFolder(state)
    if not (state / SETTINGS).exists():
        whole = Owned(name, **{"operator": operator()} | owned)
        folder = DeviceFolder.begin(state, whole, catalogue)
        folder.store.add(interactions_of(open_log(log), name))
    return folder


@lru_cache(maxsize=4)
def model_of(log, model):
    """The recommender that whoever starts a run builds, as every device does."""
    return build(open_items(log), find(model), model)


def schema_of(log, config):
    return AdapterSchema.of(model_of(log, config.model))


class Node:
    """A person's node: the device's folder, what is resident of it, and Flower's context."""

    def __init__(self, folder, log, user, **owned):
        self.state = folder / f"state-{user}"
        self.number = user + 2
        self.folder = begun(self.state, log, user, **owned)
        self.log = []  # of its own process, for its owner
        self.restart()
        self.caps("")

    def restart(self):
        """What it had in memory is lost."""
        self.resident = None

    def caps(self, text):
        (self.state / "caps.toml").write_text(owners(text, delta=1e-2))

    def own(self, old, new):
        """Its owner edits device.toml."""
        text = (self.state / SETTINGS).read_text()
        assert old in text
        (self.state / SETTINGS).write_text(text.replace(old, new))

    def connected(self, context, request):
        """The device, as a process of its own has it."""
        self.resident = self.resident or Resident(self.folder)
        return SimpleNamespace(answer=lambda asked: self.resident.answer(asked, self.number))

    def answer(self, message):
        """The relay's answer, as the SuperNode passes it on: an exception becomes an error."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(client.app, "log", lambda level, *words: self.log.append(str(words[-1])))
            return self.relay()(message, Context(1, self.number, self.node(), RecordDict(), {}))

    def relay(self):
        return create_app(self.connected)

    def node(self):
        """What its relay is configured with."""
        return {}

    def refusal(self, message):
        """Why it declines, as its owner reads it; empty if it does not. A word of it leaves."""
        reply = self.answer(message)
        assert set(reply.content) == {"config"} or not declined(reply)
        assert declined(reply) in ("", *DECLINED)
        return self.log[-1] if declined(reply) else ""

    @property
    def rounds(self):
        file = self.state / "participation.jsonl"
        return [entry.round for entry in Ledger.open(file).entries] if file.exists() else []


class Loopback:
    """A grid of real nodes in this process."""

    def __init__(self, nodes):
        self.nodes = {node.number: node for node in nodes}
        self.said = []

    def get_node_ids(self):
        return list(self.nodes)

    def send_and_receive(self, messages, timeout=None):
        for number, message in enumerate(messages):
            message.metadata.__dict__["_message_id"] = str(number)
            node = self.nodes[message.metadata.dst_node_id]
            reply = node.answer(message)
            self.said.append(node.log[-1] if declined(reply) else None)
            yield reply


def request(model, config, number, policy, release="update", users=USERS):
    arrays = model.split(random_adapter(model).numpy())
    about = {"users": users, "schema": model.trainable.digest, "policy": policy}
    return letters([2], asked(config, release, number, arrays=arrays, **about))[0]


def declined(reply: Message):
    return reply.content.config_records["config"].get("declined", "")


def served(folder, model):
    files = run_files(folder, "p")
    for path in (files.initial, files.adapter):
        path.parent.mkdir(parents=True, exist_ok=True)
    save_file(model.split(random_adapter(model).numpy()), files.initial)
    return files
