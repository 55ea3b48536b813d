"""Real nodes in this process: what a person configures, what a server sends, a grid of them."""

import pytest
from flwr.app import Context, Message, RecordDict
from safetensors.numpy import save_file

import client.app
from apps import client_app
from shared.errors import DECLINED
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
    items = "\n".join(f"{item},Text of {item}" for item in "abcdefgh")
    (folder / "items.csv").write_text(f"item,text\n{items}\n")
    return folder


class Node:
    """A person's node: its configuration, its state folder, and Flower's context."""

    def __init__(self, folder, log, user, **configured):
        self.state = folder / f"state-{user}"
        self.number = user + 2
        node = {"data": log, "user": f"u{user}", "state": str(self.state), "operator": operator()}
        self.config = node | configured
        self.log = []  # of its own process, for its owner
        self.kept = RecordDict()  # in the SuperNode's memory, while it runs
        self.caps("")

    def caps(self, text):
        self.state.mkdir(exist_ok=True)
        (self.state / "caps.toml").write_text(owners(text, delta=1e-2))

    def answer(self, message):
        """The relay's answer, as the SuperNode passes it on: an exception becomes an error."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(client.app, "log", lambda level, *words: self.log.append(str(words[-1])))
            return client_app(message, Context(1, self.number, self.config, self.kept, {}))

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
