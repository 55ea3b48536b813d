"""Affinities: what a history says of an item by kernels that were known before any round.

For blocks B with factors In_B and Out_B of the items, after a history i_1 ... i_t:

    s_t(i) = sum_B q_B(t) . Out_B[i]         q_B(t) = sum_{r <= t} k_B(t, r) In_B[i_r]

    k_B(t, r) = sum_d mix[B, d] a_d^(t-r) / sum_{r' <= t} a_d^(t-r')        a = (0.6, 0.85, 0.95, 1)

Sums are over places where there is an item. Without the weights in `mix`, every decay gives a mean
over the history: of what was met last, of all of it, and two between.

    block                 In_B and Out_B                              known from
    text                  the frozen text vectors (In: corrected)     public texts
    categories            `shared.data.attributes`                    public texts
    years                 `shared.data.attributes`                    public texts
    categories x years    `shared.data.attributes`                    public texts
    moments               two tables [items, model.moments_rank]      a release, once

So every block is linear in the history, and each item's part of a score is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from shared.config import ModelConfig
from shared.data.attributes import EXTRA, WIDTHS

DECAYS = (0.6, 0.85, 0.95, 1.0)
TEXT, MOMENTS = "text", "moments"

# What each block weighs before any round, learned on people of MovieLens-latest-small
# (`benchmarks/prior.py`, docs/tuning.md): of the mean over the whole history, and of what the means
# over ever later parts of it (decays .95, .85, .6) add to the one before. The text's are in units
# of the likeness that two items have by chance, so that they fit any language model.
PRIOR: dict[str, tuple[float, float, float, float]] = {
    TEXT: (1.9, 0.75, 0.85, 0.5),
    "categories": (0.25, 0.7, 0.8, -0.2),
    "years": (1.9, 0.8, 1.1, 1.3),
    "categories x years": (2.1, 1.9, 2.2, 1.1),
    MOMENTS: (0.4, 0.45, 0.45, 0.25),
}

_LEAST = 1e-30  # of a sum of weights that is divided by: past it an item is not seen any more


class StateParts(NamedTuple):
    """A state that is scored, as a sum.

    Attributes
    ----------
    history : dict of Tensor [length, width]
        What each item of the window adds, by block.
    language_model : Tensor [width]
    """

    history: dict[str, Tensor]
    language_model: Tensor

    @property
    def total(self) -> Tensor:
        """The state, [width]."""
        return torch.stack([part.sum(0) for part in self.history.values()]).sum(0) + (
            self.language_model
        )


class ScoreParts(NamedTuple):
    """Scores of all items as a sum.

    Attributes
    ----------
    history : dict of Tensor [length, items]
        What each item of the window adds, by block.
    language_model, popularity : Tensor [items]
    """

    history: dict[str, Tensor]
    language_model: Tensor
    popularity: Tensor

    @property
    def places(self) -> Tensor:
        """What each item of the window adds, [length, items]."""
        return torch.stack(list(self.history.values())).sum(0)

    @property
    def total(self) -> Tensor:
        """The scores, [items]."""
        return self.places.sum(0) + self.language_model + self.popularity


def block_widths(hidden: int, public: int, moments: int) -> dict[str, int]:
    """The blocks of a model, in order, and the columns of each.

    Parameters
    ----------
    hidden : int
        Of a text vector.
    public : int
        Of the public table: `hidden`, or with the attributes' factors.
    moments : int
        Of each moments table; 0 for none.

    Raises
    ------
    ValueError
        If the table has another number of columns.
    """
    if public not in (hidden, hidden + EXTRA):
        raise ValueError(f"Expected {hidden} or {hidden + EXTRA} columns, not {public}")
    attributes = WIDTHS if public > hidden else {}
    return {TEXT: hidden, **attributes, **({MOMENTS: moments} if moments else {})}


def initial_mix(
    blocks: Sequence[str], text: Tensor, prior: Mapping[str, Sequence[float]] = PRIOR
) -> Tensor:
    """The weights before any round, float32 [blocks, 4].

    Parameters
    ----------
    blocks : sequence of str
    text : Tensor [items, hidden]
        Of unit length.
    prior : mapping of str to four floats
        Of every block.
    """
    whole, later, late, last = torch.tensor([list(prior[name]) for name in blocks]).unbind(1)
    mix = torch.stack((last, late - last, later - late, whole - later), 1)
    mix[list(blocks).index(TEXT)] /= chance_likeness(text)
    return mix


def starting_mix(blocks: Sequence[str], text: Tensor, config: ModelConfig) -> Tensor:
    """`PRIOR` as the settings scale it, float32 [blocks, 4]; blocks and text as `initial_mix`."""
    times = 1.0 if config.moments_scale is None else config.moments_scale
    moments = [times * weight for weight in PRIOR[MOMENTS]]
    return config.affinity_scale * initial_mix(blocks, text, {**PRIOR, MOMENTS: moments})


def chance_likeness(text: Tensor) -> float:
    """Root mean square of the inner products of all pairs of vectors [items, hidden].

    Of items that have one: an item without a text has zero. Where none has, 1.
    """
    known = int(text.any(1).sum())
    return max(float((text.T @ text).norm()) / known, 1e-6) if known else 1.0


def kernels(mix: Tensor, known: Tensor) -> Tensor:
    """How much each block takes of each place before another.

    Parameters
    ----------
    mix : Tensor [blocks, 4]
    known : Tensor float [..., length]
        1 where there is an item, 0 at the start and in padding.

    Returns
    -------
    Tensor [..., blocks, length, length]
        k_B(t, r); zero for r > t.
    """
    steps = torch.arange(known.shape[-1], device=known.device, dtype=known.dtype)
    age = steps[:, None] - steps
    decays = torch.tensor(DECAYS, device=known.device, dtype=known.dtype)[:, None, None]
    weights = torch.where(age >= 0, decays ** age.clamp(min=0), torch.zeros_like(age))
    counted = weights * known[..., None, None, :]  # [..., 4, length, length]
    shares = counted / counted.sum(-1, keepdim=True).clamp(min=_LEAST)
    return torch.einsum("bd,...dtr->...btr", mix, shares)


def summaries(mix: Tensor, rows: Tensor, known: Tensor, widths: Sequence[int]) -> Tensor:
    """q_B(t) of all blocks side by side.

    Parameters
    ----------
    mix : Tensor [blocks, 4]
    rows : Tensor [..., length, width]
        In_B of each item of the history, the blocks side by side.
    known : Tensor float [..., length]
    widths : sequence of int
        Columns of each block; they add up to width.

    Returns
    -------
    Tensor [..., length, width]
    """
    taken = kernels(mix, known).unbind(-3)
    parts = torch.split(rows, list(widths), dim=-1)
    return torch.cat([one @ part for one, part in zip(taken, parts, strict=True)], dim=-1)
