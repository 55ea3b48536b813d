"""Blocks of kernels: their weights over a history, and what they are in a model."""

import numpy as np
import pytest
import torch

from shared.config import ModelConfig
from shared.data.attributes import EXTRA
from shared.model.affinities import DECAYS, PRIOR, block_widths, initial_mix, kernels, summaries
from shared.model.backbone import load, resolve
from shared.model.recommender import Recommender
from tests.support.tiny import HIDDEN, RICH

KNOWN = torch.tensor([[0.0, 1, 1, 0, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])


@pytest.mark.parametrize("decay", range(len(DECAYS)))
def test_each_decay_is_a_mean_over_the_items_so_far(decay):
    mix = torch.zeros(1, len(DECAYS))
    mix[0, decay] = 1
    found = kernels(mix, KNOWN)[:, 0]  # [windows, length, length]
    for window, known in zip(found, KNOWN, strict=True):
        for t in range(5):
            met = [r for r in range(t + 1) if known[r]]
            weights = np.array([DECAYS[decay] ** (t - r) if r in met else 0 for r in range(5)])
            expected = weights / weights.sum() if met else weights
            np.testing.assert_allclose(window[t], expected, rtol=1e-5)


def test_kernels_are_linear_in_the_mix():
    one, other = torch.randn(2, 3, 4)
    together = kernels(2 * one - other, KNOWN)
    torch.testing.assert_close(together, 2 * kernels(one, KNOWN) - kernels(other, KNOWN))


def test_a_window_of_512_is_finite_where_the_last_item_is_far_back():
    known = torch.zeros(512)
    known[0] = 1
    assert torch.isfinite(kernels(torch.ones(1, 4), known)).all()


def test_summaries_take_each_block_with_its_own_weights():
    rows, mix = torch.randn(3, 5, 7), torch.randn(2, 4)
    found = summaries(mix, rows, KNOWN, [3, 4])
    own = kernels(mix, KNOWN)
    torch.testing.assert_close(found[..., :3], own[:, 0] @ rows[..., :3])
    torch.testing.assert_close(found[..., 3:], own[:, 1] @ rows[..., 3:])


def test_blocks_are_those_that_a_model_has():
    assert list(block_widths(8, 8, 0)) == ["text"]
    assert list(block_widths(8, 8 + EXTRA, 5)) == list(PRIOR)
    assert sum(block_widths(8, 8 + EXTRA, 5).values()) == 8 + EXTRA + 5
    assert initial_mix(list(PRIOR), torch.eye(8)).shape == (len(PRIOR), len(DECAYS))
    with pytest.raises(ValueError, match="Expected 8 or 112 columns, not 9"):
        block_widths(8, 9, 0)


def test_a_table_of_text_alone_has_no_attributes(tiny_bert):
    vectors = np.random.default_rng(0).normal(size=(20, HIDDEN)).astype(np.float32)
    extra = np.random.default_rng(1).normal(size=(20, EXTRA)).astype(np.float32)
    config = ModelConfig(**(RICH | {"backbone": str(tiny_bert), "moments_rank": 0}))
    source = resolve(str(tiny_bert))
    plain = Recommender(load(source), vectors, config)
    wide = Recommender(load(source), np.concatenate([vectors, extra], axis=1), config)
    assert plain.mix.weight.shape == (1, 4)
    assert wide.mix.weight.shape == (4, 4)
    inputs = torch.tensor([[-1, 3, 4], [5, 6, -1]])
    for model in (plain, wide):
        model.mix.weight.zero_()
    torch.testing.assert_close(plain(inputs), wide(inputs))
    assert wide.hidden(inputs).shape == (2, 3, HIDDEN + EXTRA)
    wide.mix.weight[2] = 1.0  # years
    assert (plain(inputs) - wide(inputs))[1].abs().max() > 0.1


def test_the_prior_is_of_the_mean_and_of_what_later_means_add_to_it():
    text = torch.nn.functional.normalize(
        torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    )
    likeness = float((text @ text.T).square().mean().sqrt())
    last, late, later, whole = torch.eye(4)  # the means by decay, in the order of DECAYS
    for name, row in zip(PRIOR, initial_mix(list(PRIOR), text), strict=True):
        parts = (whole, later - whole, late - later, last - late)
        expected = sum(w * part for w, part in zip(PRIOR[name], parts, strict=True))
        torch.testing.assert_close(row, expected / (likeness if name == "text" else 1))
