"""FlexLoRA: no factors, however hostile, move the summed products by more than the clip."""

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from hypothesis.extra import numpy as hnp

from shared.aggregation.ranks import product_change, products
from shared.errors import ProtocolError
from shared.update import Update
from tests.support.clients import SCHEMA, exchange, global_adapter, update_of

RANKS, NODES = (1, 3), [5, 6, 7, 8]
DIM = products(SCHEMA).dim
numbers = st.floats(width=32, allow_subnormal=True) | st.sampled_from(
    [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 1e-20, 1e19, 3.4e38, -3.4e38, 1.0]
)
norms = st.floats(1e-20, 1e20)
scales = st.sampled_from([0.0, 1e-30, 0.5, 1e18, 1e30])
MET = exchange(RANKS, NODES)


def vectors(rank):
    dim = MET.up(rank).dim
    rough = hnp.arrays(np.float32, dim, elements=numbers, fill=numbers)
    smooth = st.integers(0, 2**32).map(
        lambda seed: np.random.default_rng(seed).normal(size=dim).astype(np.float32)
    )
    return rough | st.tuples(smooth, st.floats(1e-30, 1e30)).map(
        lambda pair: (pair[0] * pair[1]).astype(np.float32)
    )


def contribution(place, vector, scale, clip, opener=None):
    """What one client adds to the sum, float64 [dim]: nothing if it is refused."""
    with np.errstate(over="ignore", invalid="ignore"):
        arrays = SCHEMA.split(global_adapter(scale))
        opened = (opener or MET.opener)(arrays, clip)
        update = update_of(MET, RANKS[place % 2], vector)
        try:
            found = opened(update, [NODES[place]])
            found.check(products(SCHEMA).digest, DIM, clip)
        except ProtocolError:
            return np.zeros(DIM)
    return found.vector.astype(np.float64)


def within(vector, clip):
    return bool(np.linalg.norm(vector) <= clip * (1 + 1e-9))


@settings(max_examples=250, deadline=None)
@given(st.data(), scales, norms)
def test_every_contribution_is_within_the_clip(data, scale, clip):
    place = data.draw(st.integers(0, 1))
    assert within(contribution(place, data.draw(vectors(RANKS[place])), scale, clip), clip)


@settings(max_examples=100, deadline=None)
@given(vectors(1), vectors(1), scales, norms)
def test_a_replaced_client_moves_the_sum_by_at_most_twice_the_clip(one, other, scale, clip):
    mine, theirs = (contribution(0, vector, scale, clip) for vector in (one, other))
    assert within(mine - theirs, 2 * clip)


def only_factors_clipped(arrays, clip):
    """Negative control: bounds what arrived instead of what is summed."""

    def opened(update, members):
        import torch

        vector = update.vector * min(1.0, clip / max(float(np.linalg.norm(update.vector)), 1e-30))
        change = product_change(SCHEMA, arrays, 3, torch.from_numpy(vector)).numpy()
        return Update(change, 1.0, 0.0, products(SCHEMA).digest)

    return opened


def test_clipping_factors_instead_of_products_is_seen(monkeypatch):
    """The server's check of the norm, which would hide it, is taken away."""
    monkeypatch.setattr(Update, "_check_length", lambda self, norm: None)
    few = settings(max_examples=60, phases=[Phase.generate])

    def breaks(opener):
        return lambda v: not within(contribution(1, v, 1e18, 1.0, opener), 1.0)

    assert np.isfinite(find(vectors(3), breaks(only_factors_clipped), settings=few)).all()
    with pytest.raises(NoSuchExample):
        find(vectors(3), breaks(MET.opener), settings=few)
