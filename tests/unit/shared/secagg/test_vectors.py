"""The page's test vectors: another implementation that prints these speaks the same protocol."""

import hashlib
import re

import numpy as np
import pytest

from shared.secagg.aggregator import Aggregator
from shared.secagg.participant import Participant
from shared.secagg.session import Session
from tests.support import ROOT
from tests.support.privacy.cohorts import identity

PAGE = ROOT / "docs" / "secure-aggregation.md"
NODES = range(1, 6)
SESSION = Session(b"test vector", bytes(range(16)), 12, 4, 3, 0.1)


def draw(node):
    """The node's bytes: SHAKE-256 of its number and how many times it drew before."""
    drawn = iter(range(100))

    def some(count):
        text = f"starling test vector {node} {next(drawn)}"
        return hashlib.shake_256(text.encode()).digest(count)

    return some


def run():
    """Messages of five devices: 1 drops before its masked input, 2 before it agrees; the sum."""
    known = {node: identity(node).public_key().public_bytes_raw() for node in NODES}
    devices = {
        node: Participant(SESSION, node, identity(node), lambda n, i: known[n] == i, draw(node))
        for node in NODES
    }
    server, found, ring = Aggregator(SESSION), {"session": SESSION.to_bytes()}, SESSION.ring

    def replies(kind, asked):
        found.update({f"{kind} of {node}": message for node, message in asked.items()})
        return asked

    listed = found["adverts"] = server.adverts(
        replies("advert", {node: each.advertise() for node, each in devices.items()})
    )
    sent = server.deliveries(
        replies("shares", {node: each.share(listed) for node, each in devices.items()})
    )
    replies("delivery for", sent)
    for node in (2, 3, 4, 5):
        values = np.array([node, 100 * node, 4095, 0], np.uint32)
        masked = devices[node].mask(sent[node], values)
        found[f"masked input of {node}"] = ring.pack(masked)
        server.add(node, masked)
    survivors = found["survivors"] = server.survivors()
    signed = {node: devices[node].agree(survivors) for node in (3, 4, 5)}
    quorum = found["quorum"] = server.quorum(replies("agreement", signed))
    revealed = {node: devices[node].reveal(quorum) for node in (3, 4, 5)}
    total = server.total(replies("reveal", revealed))
    assert server.failures == []
    return found, total


@pytest.fixture(scope="module")
def outcome():
    return run()


def test_the_sum(outcome):
    total = outcome[1]
    assert total.tolist() == [14, 1400, 4092, 0]
    assert "sum is 14, 1400, 4092, 0" in PAGE.read_text(encoding="utf-8")


def test_every_message_is_that_of_the_page(outcome):
    page = PAGE.read_text(encoding="utf-8")
    shown = re.findall(r"^\| ([a-z0-9 ]+) \| (\d+) \| `([0-9a-f]{64})` \|$", page, re.MULTILINE)
    assert [tuple(row) for row in shown] == rows(outcome[0])


def rows(messages):
    """Name, bytes and SHA-256."""
    return [
        (name.replace("for of", "for"), str(len(data)), hashlib.sha256(data).hexdigest())
        for name, data in messages.items()
    ]


if __name__ == "__main__":
    for row in rows(run()[0]):
        print("| {} | {} | `{}` |".format(*row))  # noqa: T201
