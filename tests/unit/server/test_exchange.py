"""What goes down to whom and comes up, in how many bytes."""

import math

import numpy as np
import pytest
from flwr.app import MessageType
from safetensors.numpy import save_file

from client.messages import parse, update_reply
from server.federation import run_federation
from shared.aggregation.ranks import leading, rank_in
from shared.config import from_dict
from shared.errors import ProtocolError
from shared.run_files import run_files
from shared.update import Update
from tests.support.clients import IN, OUT, RANK, SCHEMA, exchange, global_adapter, update_of

BIAS = 4


def numbers(rank):
    """Of a client: r (in + out) of each of two pairs, and the rest."""
    return 2 * rank * (IN + OUT) + BIAS


def test_a_rank_goes_by_the_nodes_own_number():
    met = exchange((1, 2, 3), [17, *range(10, 16), 2**62])
    assert met.groups() == [([12, 15], 1), ([10, 13, 2**62], 2), ([17, 11, 14], 3)]


NODES = [17, 4, 12, 9, 30, 2**63 + 7]


def summed(met, nodes, known):
    """The sum where nodes are of two kinds: all of a kind would send the same at full rank."""
    opened = met.opener(SCHEMA.split(global_adapter()), 1.0)
    ranks = {name: rank for members, rank in met.groups() for name in members}
    total = 0.0
    for node, name in zip(nodes, known, strict=True):
        whole = np.random.default_rng(node % 2).normal(0, 10, SCHEMA.dim)
        update = update_of(met, ranks[name], whole[leading(SCHEMA, ranks[name])])
        total = total + opened(update, [name]).vector.astype(np.float64)
    return total


def test_one_node_less_moves_the_sum_by_at_most_the_clip():
    """And by far more where ranks go by the place among those who are there."""
    many = [3 * node for node in range(40)]

    def moved(known_as):
        sums = [
            summed(exchange((1, 3), known_as(here)), here, known_as(here))
            for here in (many, many[1:])
        ]
        return np.linalg.norm(np.subtract(*sums))

    assert moved(lambda here: here) <= 1 + 1e-6
    assert moved(lambda here: range(len(here))) > 3


class Listening:
    """Real nodes that change nothing; `ranks` is what each was asked for."""

    def __init__(self, nodes):
        self.nodes, self.ranks = nodes, {}

    def get_node_ids(self):
        return self.nodes

    def send_and_receive(self, messages, timeout=None):
        for message in messages:
            assert message.metadata.message_type == MessageType.TRAIN
            message.metadata.__dict__["_message_id"] = "1"
            node, request = message.metadata.dst_node_id, parse(message)
            self.ranks[node] = rank_in(request.arrays)
            vector = np.zeros(sum(a.size for a in request.arrays.values()), dtype=np.float32)
            yield update_reply(message, Update(vector, 1.0, 0.0, request.schema), [node])


@pytest.mark.usefixtures("flower")
def test_who_else_is_connected_changes_nobodys_rank(tmp_path):
    federation = {"aggregation": "flexlora", "ranks": [1, 3], "rounds": 1, "cohort": 1.0}
    federation |= {"popularity_start": False}
    tree = {"federation": federation, "model": {"lora_rank": 3}, "privacy": {"epsilon": math.inf}}
    seen = []
    for here in (NODES, NODES[1:], NODES[::-1]):
        files = run_files(tmp_path / str(len(seen)), "p")
        for path in (files.initial, files.adapter):
            path.parent.mkdir(parents=True, exist_ok=True)
        save_file(SCHEMA.split(global_adapter()), files.initial)
        grid = Listening(here)
        run_federation(grid, from_dict(tree), files, simulated=False)
        seen.append(grid.ranks)
    whole, less, turned = seen
    assert whole == turned
    assert less == {node: whole[node] for node in NODES[1:]}
    assert set(whole.values()) == {1, 3}


def test_bytes_are_those_of_the_rank():
    met = exchange((1, 2), range(10, 15))
    arrays = SCHEMA.split(global_adapter())
    for _, rank in met.groups():
        down = met.down(arrays, rank)
        assert sum(array.nbytes for array in down.values()) == 4 * numbers(rank)
        assert met.up(rank).dim == numbers(rank)


def test_one_rank_for_all_is_the_whole_adapter():
    met = exchange((RANK,), range(3))
    assert numbers(RANK) == met.up(RANK).dim == SCHEMA.dim


@pytest.mark.parametrize("wrong", ["another rank", "short", "nan", "two people"])
def test_what_is_not_the_update_that_was_asked_for_is_refused(wrong):
    met = exchange((1, 2), range(2))
    opened = met.opener(SCHEMA.split(global_adapter()), 1.0)
    good = np.zeros(met.up(1).dim, dtype=np.float32)
    opened(update_of(met, 1, good), [0])
    bad = {
        "another rank": update_of(met, 2, np.zeros(met.up(2).dim)),
        "short": update_of(met, 1, good[1:]),
        "nan": update_of(met, 1, good + np.nan),
        "two people": Update(np.concatenate([good, good]), 2.0, 0.0, met.up(1).digest),
    }
    with pytest.raises(ProtocolError):
        opened(bad[wrong], [0])
