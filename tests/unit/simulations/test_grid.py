"""The virtual grid keeps Flower's contract; the engine chooses sizes that change no result."""

import numpy as np
import pytest
from flwr.app import MessageType, RecordDict
from flwr.supercore.run import Run

from server.messages import HISTOGRAM, Replies, point_settings, requests
from shared.errors import ProtocolError
from simulations.grid import CohortGrid, SequentialGrid, user_of
from simulations.world import World
from tests.support.federations import point_config
from tests.support.tiny import make_engine, random_adapter

pytestmark = pytest.mark.usefixtures("flower")


@pytest.fixture(scope="module")
def engine(tiny_bert):
    return make_engine(World(users=5, items=60), tiny_bert)


@pytest.fixture(params=[CohortGrid, SequentialGrid])
def grid(request, engine):
    return request.param(engine)


def ask(engine, tiny_bert, nodes, message_type=MessageType.TRAIN, schema=None):
    return requests(
        nodes,
        message_type,
        point_settings(point_config(tiny_bert)),
        round_number=1,
        users=40,
        merge=True,
        arrays=engine.schema.split(random_adapter(engine.schema).numpy()),
        schema=engine.schema.digest if schema is None else schema,
    )


def test_a_node_for_every_user(grid):
    assert [user_of(node) for node in grid.get_node_ids()] == [0, 1, 2, 3, 4]


def test_pushed_messages_are_answered_when_pulled_and_once(grid, engine, tiny_bert):
    identifiers = list(grid.push_messages(ask(engine, tiny_bert, [2, 3])))
    assert len(set(identifiers)) == 2
    replies = list(grid.pull_messages(identifiers))
    checked = Replies(replies, [2, 3], merge=True)
    pushed = sum(update.vector for update in checked.updates(*bounds(engine)))
    assert checked.answered == {2, 3}
    assert list(grid.pull_messages(identifiers)) == []
    checked = Replies(grid.send_and_receive(ask(engine, tiny_bert, [2, 3])), [2, 3], merge=True)
    sent = sum(update.vector for update in checked.updates(*bounds(engine)))
    np.testing.assert_allclose(pushed, sent, atol=1e-6)


def bounds(engine):
    return engine.schema.digest, engine.schema.dim, 0.5


def test_no_message_no_reply(grid):
    assert list(grid.send_and_receive([])) == []


def test_another_schema_is_refused(grid, engine, tiny_bert):
    with pytest.raises(ProtocolError, match="schema"):
        list(grid.send_and_receive(ask(engine, tiny_bert, [2], schema="other")))


def test_an_unknown_message_is_refused(engine, tiny_bert):
    unknown = ask(engine, tiny_bert, [2], "query.secrets")
    with pytest.raises(ProtocolError, match=r"query\.secrets"):
        list(CohortGrid(engine).send_and_receive(unknown))


def test_histograms_agree(engine, tiny_bert):
    nodes = [2, 3, 4, 5, 6]
    sums = []
    for kind in (CohortGrid, SequentialGrid):
        found = Replies(
            kind(engine).send_and_receive(ask(engine, tiny_bert, nodes, HISTOGRAM)),
            nodes,
            merge=True,
        )
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
