"""What goes down to whom and comes up, in how many bytes."""

import numpy as np
import pytest

from shared.errors import ProtocolError
from shared.update import Update
from tests.support.clients import IN, OUT, RANK, SCHEMA, exchange, global_adapter, update_of

BIAS = 4


def numbers(rank):
    """Of a client: r (in + out) of each of two pairs, and the rest."""
    return 2 * rank * (IN + OUT) + BIAS


def test_clients_take_ranks_in_turn_by_their_place():
    met = exchange((1, 2, 3), range(10, 17))
    assert met.groups() == [([10, 13, 16], 1), ([11, 14], 2), ([12, 15], 3)]


def test_bytes_are_those_of_the_rank():
    met = exchange((1, 2), range(10, 15))
    arrays = SCHEMA.split(global_adapter())
    for nodes, rank in met.groups():
        down = met.down(arrays, rank)
        assert sum(array.nbytes for array in down.values()) == 4 * numbers(rank)
        assert met.up(rank).dim == numbers(rank)
        assert met.bytes_up(nodes) == 4 * len(nodes) * numbers(rank)
    assert met.bytes_up([10, 11]) == 4 * (numbers(1) + numbers(2))


def test_one_rank_for_all_is_the_whole_adapter():
    met = exchange((RANK,), range(3))
    assert numbers(RANK) == met.up(RANK).dim == SCHEMA.dim
    assert met.bytes_up([0, 2]) == 8 * SCHEMA.dim


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
