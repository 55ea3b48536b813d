"""The server counts a reply only if it was asked for, is whole, and is within its bounds."""

import numpy as np
import pytest
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Error,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)

from client.messages import ranks_reply, update_reply
from server.messages import Replies
from shared.canonical import policy_digest
from shared.config import ExperimentConfig
from shared.request import point_settings
from shared.update import Update
from tests.support.asking import asked, letters

pytestmark = pytest.mark.usefixtures("flower")

RELEASES = {MessageType.TRAIN: "update", MessageType.EVALUATE: "ranks"}
SCHEMA, DIM, CLIP = "s", 3, 1.0
ASKED = [2, 3, 4, 5]


def vector(*values, dtype=np.float32):
    return np.array(values, dtype=dtype)


GOOD = Update(vector(0.1, 0.2, 0.3), 1.0, 0.4, SCHEMA)


def request(node=2, message_type=MessageType.TRAIN):
    return letters([node], asked(ExperimentConfig(), RELEASES[message_type], merge=True))[0]


def reply(update, *nodes):
    return update_reply(request(), update, nodes)


def broken(**records):
    """A reply whose records are a client's own idea."""
    return Message(RecordDict(records), reply_to=request())


def check(*replies, clip=CLIP):
    checked = Replies(replies, ASKED, asked(ExperimentConfig(), number=1, merge=True))
    updates = list(checked.updates(SCHEMA, DIM, clip))
    return updates, checked


def test_a_good_reply_counts():
    updates, checked = check(reply(GOOD, 2), reply(GOOD, 3))
    assert len(updates) == 2
    np.testing.assert_array_equal(updates[0].vector, GOOD.vector)
    assert checked.answered == {2, 3}
    assert checked.failures == []


def test_a_merged_reply_may_be_as_long_as_its_members_allow():
    merged = Update(vector(1.9, 0, 0), 2.0, 1.0, SCHEMA)
    assert check(reply(merged, 2, 3))[1].answered == {2, 3}
    assert check(reply(Update(merged.vector, 1.0, 1.0, SCHEMA), 2))[0] == []


BAD = {
    "other schema": Update(GOOD.vector, 1.0, 0.4, "other"),
    "other size": Update(vector(0.1, 0.2), 1.0, 0.4, SCHEMA),
    "other type": Update(vector(0.1, 0.2, 0.3, dtype=np.float64), 1.0, 0.4, SCHEMA),
    "NaN": Update(vector(0.1, np.nan, 0.3), 1.0, 0.4, SCHEMA),
    "infinity": Update(vector(0.1, np.inf, 0.3), 1.0, 0.4, SCHEMA),
    "too long": Update(vector(1.1, 0, 0), 1.0, 0.9, SCHEMA),
    "says it is too long": Update(GOOD.vector, 1.0, 1.1, SCHEMA),
    "norm not finite": Update(GOOD.vector, 1.0, np.nan, SCHEMA),
    "weight of two users": Update(GOOD.vector, 2.0, 0.4, SCHEMA),
    "no weight": Update(GOOD.vector, 0.0, 0.4, SCHEMA),
    "negative weight": Update(GOOD.vector, -1.0, 0.4, SCHEMA),
}


@pytest.mark.parametrize("update", BAD.values(), ids=list(BAD))
def test_a_bad_update_contributes_nothing_and_is_counted(update):
    updates, checked = check(reply(update, 2), reply(GOOD, 3))
    assert len(updates) == 1
    assert checked.answered == {3}
    assert len(checked.failures) == 1
    assert "\n" not in checked.failures[0]


def test_without_a_clip_no_length_is_too_long():
    long = Update(vector(1e6, 0, 0), 1.0, 1e6, SCHEMA)
    assert check(reply(long, 2), clip=None)[1].answered == {2}


@pytest.mark.parametrize(
    "nodes", [[2, 2], [9], [2, 9], []], ids=["twice", "not asked", "one not asked", "no one"]
)
def test_contributors_must_be_distinct_and_asked(nodes):
    update = Update(GOOD.vector, float(len(nodes)), 0.4, SCHEMA)
    updates, checked = check(reply(update, *nodes))
    assert updates == []
    assert checked.answered == set()
    assert len(checked.failures) == 1


def test_a_second_reply_for_a_node_is_refused():
    merged = Update(GOOD.vector, 2.0, 0.4, SCHEMA)
    updates, checked = check(reply(GOOD, 2), reply(GOOD, 2), reply(merged, 3, 2))
    assert len(updates) == 1
    assert checked.answered == {2}
    assert len(checked.failures) == 2


METRICS = MetricRecord({"weight": 1.0, "norm": 0.4})
ABOUT = {"round": 1, "policy": policy_digest("")}
CONFIG = ConfigRecord({"schema": SCHEMA, "contributors": [2], **ABOUT})
VECTOR = ArrayRecord({"vector": Array(GOOD.vector)})
MALFORMED = {
    "nothing": {},
    "no contributors": {
        "update": VECTOR,
        "metrics": METRICS,
        "config": ConfigRecord({"schema": SCHEMA}),
    },
    "contributors is a number": {
        "update": VECTOR,
        "metrics": METRICS,
        "config": ConfigRecord({"schema": SCHEMA, "contributors": 2}),
    },
    "no vector": {"update": ArrayRecord(), "metrics": METRICS, "config": CONFIG},
    "no metrics": {"update": VECTOR, "config": CONFIG},
    "weight is a list": {
        "update": VECTOR,
        "metrics": MetricRecord({"weight": [1.0], "norm": 0.4}),
        "config": CONFIG,
    },
    "bytes that are no array": {
        "update": ArrayRecord({"vector": Array("float32", (3,), "numpy.ndarray", b"nonsense")}),
        "metrics": METRICS,
        "config": CONFIG,
    },
    "empty bytes": {
        "update": ArrayRecord({"vector": Array("float32", (3,), "numpy.ndarray", b"")}),
        "metrics": METRICS,
        "config": CONFIG,
    },
    "another serialisation": {
        "update": ArrayRecord({"vector": Array("float32", (3,), "pickle", b"nonsense")}),
        "metrics": METRICS,
        "config": CONFIG,
    },
}


@pytest.mark.parametrize("records", MALFORMED.values(), ids=list(MALFORMED))
def test_a_malformed_reply_cannot_end_the_round(records):
    updates, checked = check(broken(**records), reply(GOOD, 3))
    assert len(updates) == 1
    assert checked.answered == {3}
    assert len(checked.failures) == 1


def test_an_error_is_counted_and_its_text_is_not_repeated():
    failed = Message(Error(code=7, reason="item 17 of my history"), reply_to=request())
    updates, checked = check(failed, reply(GOOD, 3))
    assert len(updates) == 1
    assert checked.failures == ["a client failed (error code 7)"]


def ranks(*replies):
    checked = Replies(replies, ASKED, asked(ExperimentConfig(), number=1, merge=True))
    return checked.ranks(), checked


def evaluated(sampled, full, *nodes):
    return ranks_reply(request(message_type=MessageType.EVALUATE), sampled, full, nodes)


@pytest.mark.parametrize("turned", [False, True])
def test_ranks_are_collected_in_the_order_of_nodes_whatever_that_of_the_replies(turned):
    """Two models are compared person by person: who is whose must not depend on who was faster."""
    replies = [evaluated([4, 0], [9, 1], 2, 3), evaluated([7], [8], 4), evaluated([], [], 5)]
    found, checked = ranks(*(reversed(replies) if turned else replies))
    assert found == ([4, 0, 7], [9, 1, 8])
    assert checked.answered == {2, 3, 4, 5}


@pytest.mark.parametrize(
    ("sampled", "full"),
    [([1], []), ([1, 2], [1, 2]), ([-1], [3]), ([0.5], [3.0])],
    ids=["one of two", "more than users", "negative", "not whole"],
)
def test_ranks_that_cannot_be_are_refused(sampled, full):
    found, checked = ranks(evaluated(sampled, full, 2), evaluated([1], [2], 3))
    assert found == ([1], [2])
    assert len(checked.failures) == 1


def test_requests_share_their_content_and_say_everything():
    arrays = {"a": np.ones((2, 2), dtype=np.float32)}
    request = asked(
        ExperimentConfig(),
        "ranks",
        4,
        merge=True,
        arrays=arrays,
        schema="s",
        phase="test",
        policy="p",
    )
    first, second = letters([2, 3], request)
    assert first.content is second.content
    assert [m.metadata.dst_node_id for m in (first, second)] == [2, 3]
    fields = first.content.config_records["config"]
    assert dict(fields) == {
        "round": 4,
        "users": 40,
        "settings": point_settings(ExperimentConfig()),
        "policy": "p",
        "schema": "s",
        "phase": "test",
        "merge": True,
        "clip": 0.0,
    }
    np.testing.assert_array_equal(first.content.array_records["arrays"]["a"].numpy(), arrays["a"])


def test_without_merging_a_node_speaks_for_itself_alone():
    """In a deployment no node may answer, or grow long, in the name of others."""
    together = Update(vector(1.9, 0, 0), 2.0, 1.0, SCHEMA)
    replies = [reply(together, 2, 3), reply(GOOD, 3), reply(GOOD, 2)]
    checked = Replies(replies, ASKED, asked(ExperimentConfig(), merge=False))
    assert len(list(checked.updates(SCHEMA, DIM, CLIP))) == 1  # only node 2's own
    assert checked.answered == {2}
    assert checked.failures == ["refused a reply that speaks for another node"] * 2
