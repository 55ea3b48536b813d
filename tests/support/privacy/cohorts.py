"""Cohorts: whole secure aggregations in one process, with dropouts and restarts where asked."""

from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.secagg.aggregator import Aggregator
from shared.secagg.participant import Participant
from shared.secagg.session import Session

STAGES = ("advertise", "share", "mask", "agree", "reveal")


def identity(node):
    return Ed25519PrivateKey.from_private_bytes(node.to_bytes(32, "big"))


def session(bits=20, dim=5, fewest=3, colluding=0.1, nonce=bytes(16), context=b"round 1"):
    return Session(context, nonce, bits, dim, fewest, colluding)


def values(about, nodes, seed=0):
    """What each node contributes: any elements of the ring."""
    generator = np.random.default_rng(seed)
    high = 2**about.bits
    return {
        node: generator.integers(0, high, about.dim, np.uint64).astype(about.ring.words)
        for node in nodes
    }


@dataclass
class Cohort:
    """Participants and their aggregator.

    `gone` names the stage that a node does not answer any more; `restarts` whether a node answers a
    stage from another process.
    """

    session: Session
    nodes: list[int]
    gone: dict[int, str] = field(default_factory=dict)
    restarts: object = None
    seed: int = 0

    def __post_init__(self):
        assert self.gone.keys() <= set(self.nodes)
        self.identities = {node: identity(node) for node in self.nodes}
        known = {n: key.public_key().public_bytes_raw() for n, key in self.identities.items()}
        self.trusted = lambda node, shown: known.get(node) == shown
        self.participants = {
            node: Participant(self.session, node, key, self.trusted)
            for node, key in self.identities.items()
        }
        self.values = values(self.session, self.nodes, self.seed)
        self.aggregator = Aggregator(self.session)
        self.replies = {}

    def ask(self, stage, content, nodes):
        """The replies of those that are still there; content(node) -> arguments."""
        left = STAGES.index(stage)
        self.replies[stage] = {
            node: getattr(self._process(node), stage)(*content(node))
            for node in nodes
            if node not in self.gone or STAGES.index(self.gone[node]) > left
        }
        return self.replies[stage]

    def _process(self, node):
        participant = self.participants[node]
        if self.restarts is not None and self.restarts.random() < 0.5:
            saved = participant.save()
            participant = Participant.restore(saved, self.identities[node], self.trusted)
            assert participant.save() == saved
            self.participants[node] = participant
        return participant

    def run(self, until="total"):
        """All stages before `until`; the total, or what the stage is asked with."""
        self.sent = {}
        for stage in STAGES:
            if stage == until:
                return self.sent.get(stage)
            self.step(stage)
        return self.aggregator.total(self.replies["reveal"])

    def step(self, stage):
        """One stage: its replies, and what the aggregator makes of them."""
        server, sent = self.aggregator, self.sent
        if stage == "advertise":
            sent["share"] = server.adverts(self.ask(stage, lambda node: (), self.nodes))
        elif stage == "share":
            replies = self.ask(stage, lambda node: (sent[stage],), self.replies["advertise"])
            sent["mask"] = server.deliveries(replies)
        elif stage == "mask":
            ask = self.ask(stage, lambda node: (sent[stage][node], self.values[node]), sent[stage])
            for node, masked in ask.items():
                assert server.add(node, masked)
            sent["agree"] = server.survivors()
        elif stage == "agree":
            replies = self.ask(stage, lambda node: (sent[stage],), self.replies["mask"])
            sent["reveal"] = server.quorum(replies)
        else:
            self.ask(stage, lambda node: (sent[stage],), self.replies["agree"])

    def plain(self):
        """The sum of what those contributed whose masked input arrived, in plain arithmetic."""
        total = np.zeros(self.session.dim, np.uint64)
        for node in self.replies["mask"]:
            total += self.values[node].astype(np.uint64)
        return (total & np.uint64(2**self.session.bits - 1)).astype(self.session.ring.words)
