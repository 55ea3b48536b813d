"""Packed windows are the padded ones without their padding."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.model import packing as products
from shared.model.packing import Packing

LENGTHS = st.lists(st.integers(1, 6), min_size=1, max_size=7).map(
    lambda lengths: sorted(lengths, reverse=True)
)


def packing(lengths, segments=3, one_group=False, filler=2):
    owners = torch.arange(len(lengths)) % segments
    return Packing(lengths, owners, segments, one_group, filler)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("one_group", [False, True])
@settings(deadline=None)
@given(lengths=LENGTHS)
def test_rectangles_hold_the_windows_and_give_the_row_back(lengths, one_group):
    packed = packing(lengths, one_group=one_group)
    row = drawn(packed.tokens, 2)
    rectangles = packed.rectangles(row)
    windows = [window for rectangle in rectangles for window in rectangle]
    row[sum(lengths) :] = 0
    parts = row[: sum(lengths)].split(lengths)
    assert len(windows) == len(parts)
    for window, part in zip(windows, parts, strict=True):
        assert torch.equal(window[: len(part)], part)
        assert not window[len(part) :].any()
    assert torch.equal(packed.row(rectangles), row)
    assert one_group or all(len(r) * r.shape[1] for r in rectangles)
    assert packed.positions.tolist() == [p for length in lengths for p in range(length)] + [0, 0]


@pytest.mark.parametrize("one_group", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@settings(deadline=None)
@given(lengths=LENGTHS)
def test_every_segment_has_its_own_product_and_its_own_gradient(lengths, shared, one_group):
    packed = packing(lengths, one_group=one_group)
    stack = drawn(1, 5, 2).expand(3, -1, -1) if shared else drawn(3, 5, 2)
    x, dy = drawn(1, packed.tokens, 2, seed=1), drawn(1, packed.tokens, 5, seed=2)
    x[:, sum(lengths) :] = dy[:, sum(lengths) :] = 0
    leaves = stack.detach().requires_grad_(), x.clone().requires_grad_()
    y = packed.linear(leaves[1], leaves[0])
    gradients = torch.autograd.grad(y, leaves, dy)

    plain = stack.clone().requires_grad_(), x.clone().requires_grad_()
    expected = torch.einsum("toi,bti->bto", plain[0][packed.segment_of], plain[1])
    wanted = torch.autograd.grad(expected, plain, dy)
    torch.testing.assert_close(y, expected)
    for found, want in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(found, want)


def test_windows_must_come_longest_first():
    with pytest.raises(ValueError, match="descending"):
        packing([2, 3])


def test_more_positions_before_each_window():
    longer = packing([3, 1]).after(2)
    assert list(longer.lengths) == [5, 3]
    assert longer.positions.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 0, 0]


@pytest.mark.parametrize("there", [True, False], ids=["onednn", "without"])
def test_frozen_products_are_the_usual_ones(there, monkeypatch):
    if not there:
        monkeypatch.setattr(products, "_has_onednn", lambda: False)
    x, weight, bias = drawn(2, 7, 4).float(), drawn(5, 4, seed=1).float(), drawn(5).float()
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = products.frozen_linear(ours, weight, bias)
    expected = torch.nn.functional.linear(theirs, weight, bias)
    torch.testing.assert_close(y, expected)
    slope = drawn(2, 7, 5, seed=3).float()
    (found,) = torch.autograd.grad(y, ours, slope)
    (wanted,) = torch.autograd.grad(expected, theirs, slope)
    torch.testing.assert_close(found, wanted)


def test_this_machine_has_the_fast_product():
    """Otherwise the case above tests the same thing twice."""
    assert products._has_onednn() == torch.backends.mkldnn.is_available()
