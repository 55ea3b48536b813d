"""Whatever a client computes, under any rule one person moves the sum by no more than the clip."""

import numpy as np
import pytest
import torch
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shared.aggregation import RULES, AggregationRule
from shared.errors import ProtocolError
from shared.model.adapter import AdapterSchema
from shared.privacy.contribution.clipping import L2Clip
from shared.update import Update

PAIR = {"l.lora_A.d.weight": (2, 3), "l.lora_B.d.weight": (3, 2)}
CORED = {"l.lora_A.d.weight": (2, 3), "l.lora_B.d.core.weight": (2, 2)}
CORED |= {"l.lora_B.d.up.weight": (3, 2)}
CLIENTS = 4
LINEAR = sorted(name for name, rule in RULES.items() if rule.linear)  # others: test_products.py

numbers = st.floats(width=32, allow_subnormal=True) | st.sampled_from(
    [np.nan, np.inf, -np.inf, 0.0, 1e-45, 3.4e38, -3.4e38, 1.0]
)
cases = st.tuples(
    st.sampled_from(LINEAR),
    st.integers(1, 4),  # round
    st.floats(1e-6, 1e6),  # clip
    hnp.arrays(np.float32, (CLIENTS, 20), elements=numbers),  # raw deltas, as long as any
)


def schema_of(name):
    shapes = (CORED if name == "fedsb" else PAIR) | {"item_bias.weight": (5, 1)}
    if name == "principal":
        shapes |= {"item_down.weight": (2, 3), "item_out.weight": (4, 2)}
    names = tuple(sorted(shapes))
    return AdapterSchema(names, tuple(shapes[n] for n in names))


def clipped(name, turn, norm, raw):
    """The rule, what it trains, and the updates that leave the clients."""
    rule, schema = RULES[name], schema_of(name)
    part = schema.subset(rule.trained(schema.names, turn))
    vectors = L2Clip(norm)(torch.from_numpy(raw[:, : part.dim].copy())).numpy()
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    updates = [Update(v, 1.0, float(n), part.digest) for v, n in zip(vectors, lengths, strict=True)]
    return rule, part, updates


def largest_move(rule, part, updates):
    """How far the sum goes when one person leaves, or sends what somebody else sent."""
    total = rule.combine(updates, part.dim)
    assert total.dtype == np.float64
    moves = []
    for gone in range(len(updates)):
        rest = updates[:gone] + updates[gone + 1 :]
        moves.append(np.linalg.norm(total - rule.combine(rest, part.dim)))
        other = [*rest, updates[gone - 1]]
        moves.append(np.linalg.norm(total - rule.combine(other, part.dim)) / 2)
    return max(moves), 1e-12 * np.abs(total).max(initial=0.0)


@settings(max_examples=200, deadline=None)
@given(case=cases)
def test_one_person_moves_the_sum_by_at_most_the_clip(case):
    name, turn, norm, raw = case
    rule, part, updates = clipped(name, turn, norm, raw)
    for update in updates:
        update.check(part.digest, part.dim, norm)  # and the server counts it
    moved, rounding = largest_move(rule, part, updates)
    assert moved <= norm * (1 + 1e-9) + rounding


class ByWhoAnswered(AggregationRule):
    """Planted: as if the expected cohort had answered, so that one person scales all others."""

    name = "by-who-answered"

    def combine(self, updates, dim):
        found = list(updates)
        return super().combine(found, dim) * CLIENTS / max(len(found), 1)


def test_a_rule_in_which_people_move_each_other_is_seen():
    def breaks(case):
        _, turn, norm, raw = case
        _, part, updates = clipped("fedit", turn, norm, raw)
        moved, rounding = largest_move(ByWhoAnswered(), part, updates)
        return moved > norm * (1 + 1e-9) + rounding

    few = settings(max_examples=200, phases=[Phase.generate])
    assert find(cases, breaks, settings=few)


@settings(max_examples=150, deadline=None)
@given(case=cases, cut=st.lists(st.integers(0, 2), min_size=CLIENTS, max_size=CLIENTS))
def test_a_linear_rule_may_sum_in_any_groups(case, cut):
    """What secure aggregation does: sums of parts, in any order, are the sum."""
    name, turn, norm, raw = case
    rule, part, updates = clipped(name, turn, norm, raw)
    groups = [[u for u, g in zip(updates, cut, strict=True) if g == group] for group in range(3)]
    parts = sum(rule.combine(group, part.dim) for group in reversed(groups))
    np.testing.assert_allclose(parts, rule.combine(updates, part.dim), atol=1e-12 * norm * CLIENTS)
    assert not rule.combine([], part.dim).any()


@pytest.mark.parametrize("name", RULES)
def test_an_update_about_other_tensors_is_refused(name):
    """The whole adapter's, or that of the other turn."""
    rule, schema = RULES[name], schema_of(name)
    part = schema.subset(rule.trained(schema.names, 1))
    for names in {schema.names, rule.trained(schema.names, 2)} - {part.names}:
        other = schema.subset(names)
        with pytest.raises(ProtocolError, match="schema"):
            Update.zero(other.dim, other.digest).check(part.digest, part.dim, 1.0)
