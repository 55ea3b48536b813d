"""The virtual grid keeps Flower's contract; the engine chooses sizes that change no result."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from flwr.app import MessageType, RecordDict
from flwr.supercore.run import Run

from server.messages import Replies, messages
from shared.errors import ProtocolError
from simulations.flower.grid import CohortGrid, SequentialGrid, key_of
from simulations.world.world import World
from tests.support.asking import asked
from tests.support.federations import point_config
from tests.support.privacy.policies import agreed
from tests.support.tiny import make_engine, random_adapter

pytestmark = pytest.mark.usefixtures("flower")

START = datetime.now(UTC)  # one policy for all tests: it is signed anew, with the same text


@pytest.fixture(scope="module")
def engine(tiny_bert):
    return make_engine(World(users=5, items=60), tiny_bert)


@pytest.fixture(params=[CohortGrid, SequentialGrid])
def grid(request, engine):
    return request.param(engine)


def policy(engine, tiny_bert):
    return agreed(point_config(tiny_bert), 40, engine.schema.digest, start=START)


def checked(replies, nodes, engine, tiny_bert):
    config = point_config(tiny_bert)
    return Replies(replies, nodes, asked(config, merge=True, policy=policy(engine, tiny_bert)))


def ask(engine, tiny_bert, nodes, release="update", schema=None, **changes):
    fields = {"number": changes.pop("round_number", 1), "policy": policy(engine, tiny_bert)}
    arrays = engine.schema.split(random_adapter(engine.schema).numpy())
    schema = engine.schema.trainable.digest if schema is None else schema
    fields |= {"arrays": arrays, "schema": schema, "merge": True} | changes
    return messages(asked(point_config(tiny_bert), release, **fields), nodes)


REFUSED = {
    "none": ({"policy": ""}, "brings no policy"),
    "after the last round": ({"round_number": 4}, "rounds 1 to 3"),
    "before the first": ({"round_number": 0}, "rounds 1 to 3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_simulated_people_heed_the_policy(case, grid, engine, tiny_bert):
    changes, message = REFUSED[case]
    with pytest.raises(ProtocolError, match=message):
        list(grid.send_and_receive(ask(engine, tiny_bert, [2], **changes)))


def test_simulated_people_refuse_a_policy_about_something_else(grid, engine, tiny_bert):
    config, digest = point_config(tiny_bert), engine.schema.digest
    others = {
        "settings asked for": agreed(point_config(tiny_bert, 4.0), 40, digest),
        "rests on 41": agreed(config, 41, digest),
        "another adapter": agreed(config, 40, "other"),
        "it is 20": agreed(config, 40, digest, start=START - timedelta(days=31)),
        "not signed": policy(engine, tiny_bert).replace('"rounds":3', '"rounds":4'),
    }
    for message, other in others.items():
        with pytest.raises(ProtocolError, match=message):
            list(grid.send_and_receive(ask(engine, tiny_bert, [2], policy=other)))


def test_a_node_for_every_user(grid):
    assert [key_of(node) for node in grid.get_node_ids()] == [0, 1, 2, 3, 4]


def test_pushed_messages_are_answered_when_pulled_and_once(grid, engine, tiny_bert):
    identifiers = list(grid.push_messages(ask(engine, tiny_bert, [2, 3])))
    assert len(set(identifiers)) == 2
    replies = list(grid.pull_messages(identifiers))
    found = checked(replies, [2, 3], engine, tiny_bert)
    pushed = sum(update.vector for update in found.updates(*bounds(engine)))
    assert found.answered == {2, 3}
    assert list(grid.pull_messages(identifiers)) == []
    replies = grid.send_and_receive(ask(engine, tiny_bert, [2, 3]))
    found = checked(replies, [2, 3], engine, tiny_bert)
    sent = sum(update.vector for update in found.updates(*bounds(engine)))
    np.testing.assert_allclose(pushed, sent, atol=1e-6)


def bounds(engine):
    return engine.schema.trainable.digest, engine.schema.trainable.dim, 0.5


def test_no_message_no_reply(grid):
    assert list(grid.send_and_receive([])) == []


def test_another_schema_is_refused(grid, engine, tiny_bert):
    with pytest.raises(ProtocolError, match="schema"):
        list(grid.send_and_receive(ask(engine, tiny_bert, [2], schema="other")))


def test_an_unknown_message_is_refused(engine, tiny_bert):
    unknown = ask(engine, tiny_bert, [2])
    unknown[0].metadata.__dict__["_message_type"] = "query.secrets"
    with pytest.raises(ProtocolError, match=r"query\.secrets"):
        list(CohortGrid(engine).send_and_receive(unknown))


def test_histograms_agree(engine, tiny_bert):
    nodes = [2, 3, 4, 5, 6]
    sums = []
    for kind in (CohortGrid, SequentialGrid):
        replies = kind(engine).send_and_receive(ask(engine, tiny_bert, nodes, "histogram"))
        found = checked(replies, nodes, engine, tiny_bert)
        sums.append(sum(u.vector for u in found.updates("histogram:60", 60, 1.0)))
        assert found.failures == []
    np.testing.assert_allclose(*sums, atol=1e-6)
    assert sums[0].sum() > 0


def test_it_is_a_grid_of_flower(grid):
    run = Run.create_empty(7)
    grid.set_run(run)
    assert grid.run is run
    message = grid.create_message(RecordDict(), MessageType.TRAIN, 4, "1")
    assert message.metadata.dst_node_id == 4
