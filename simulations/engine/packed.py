"""Gradients of many clients at once without padding: the cohort engine's fast way.

All windows of a batch are packed into one row of tokens (see `shared.model.packing`). Whatever is
frozen multiplies the row once; what is trained is a stack of weights, one for every segment, so
that one backward pass leaves every segment its own gradient. At a global adapter all segments share
one weight, and nothing is stacked but the gradients.

The catalogue's scores, the widest tensor by far, are made, differentiated and dropped a few windows
at a time. For a token with scores s, target j and weight w in the loss

    d loss / d s = w (softmax(s) - onehot(j))

so the loss itself is never computed. `client.training.train.window_loss` under autograd is the
definition that this is tested against.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from shared.model.adapter import AdapterSchema, TargetWeights, Tensors
from shared.model.packing import Packing
from shared.model.recommender import Recommender

_SCORES = {"cpu": 2**20, "mps": 2**24, "cuda": 2**26}  # numbers of one piece; 4 MiB stay in a cache
_APART = {torch.float32: 1e-4, torch.bfloat16: 0.05}  # relative; of two ways to read a window
ROUND = {"cpu": 128}  # rows of products are a multiple: oneDNN makes a kernel for every size
_FEWEST = 128  # tokens of a piece: fewer make poor products


@dataclass(frozen=True, eq=False)
class Row:
    """Packed windows with targets.

    Attributes
    ----------
    packing : Packing
    inputs, targets : Tensor int64 [T]
        Targets of -1 do not count.
    windows : Tensor int64 [W]
        Place of each packed window among those that were given.
    """

    packing: Packing
    inputs: Tensor
    targets: Tensor
    windows: Tensor


def pack(inputs: Tensor, targets: Tensor, owners: Tensor, segments: int) -> Row | None:
    """Drop what follows a window's last target, and lay the windows end to end.

    Parameters
    ----------
    inputs, targets : Tensor int64 [W, length]
    owners : Tensor int64 [W]
        Segment of each window, in [0, segments).

    Returns
    -------
    Row or None
        None if nothing has a target.
    """
    counted = torch.arange(1, targets.shape[1] + 1, device=targets.device) * (targets >= 0)
    lengths = counted.amax(1)  # past the last target nothing reaches the loss
    order = torch.argsort(lengths, descending=True, stable=True)
    order = order[: int((lengths > 0).sum())]
    if not len(order):
        return None
    packing = _packing(lengths[order].tolist(), owners[order], segments)
    stop = packing.tokens - packing.filler
    window, place = order[packing.window_of[:stop]], packing.positions[:stop]

    def row(x: Tensor) -> Tensor:
        return functional.pad(x[window, place], (0, packing.filler), value=-1)

    return Row(packing, row(inputs), row(targets), order)


def _packing(lengths: Sequence[int], owners: Tensor, segments: int) -> Packing:
    device = owners.device
    filler = -sum(lengths) % ROUND.get(device.type, 1)
    return Packing(lengths, owners, segments, device.type == "cuda", filler)


def piece_tokens(recommender: Recommender) -> int:
    """Most tokens whose scores are in memory at once, if no window is longer."""
    kind = recommender.items.device.type
    most, whole = _SCORES[kind] // len(recommender.items), ROUND.get(kind, 1)
    return max(most // whole * whole, _FEWEST)


def piece_bytes(recommender: Recommender) -> int:
    """About what a piece of scores takes: parts, sum, their slope."""
    return 5 * 4 * piece_tokens(recommender) * len(recommender.items)


class PackedGradients:
    """Gradients of a recommender's loss, by client or by window.

    Parameters
    ----------
    recommender : Recommender
    schema : AdapterSchema
        Of what is trained: `dim` is its length.
    frozen : dict of Tensor, optional
        The adapter's other tensors, one for all segments.
    weights : TargetWeights, optional
        What targets count.
    """

    def __init__(
        self,
        recommender: Recommender,
        schema: AdapterSchema,
        frozen: Tensors | None = None,
        weights: TargetWeights | None = None,
    ) -> None:
        self._recommender = recommender
        self._schema = schema
        self._frozen, self._weights = frozen or {}, weights
        self._hidden, self._scores = _Hidden(recommender), _Scores(recommender)
        self._piece = piece_tokens(recommender)

    def by_client(self, theta: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Gradient of every client's mean loss over its targets, at its own adapter.

        Parameters
        ----------
        theta : Tensor float32 [clients, dim]
            Expanded (stride 0) where all clients share it.
        inputs, targets : Tensor int64 [clients, windows, length]

        Returns
        -------
        Tensor float32 [clients, dim]
        """
        clients, windows, _ = targets.shape
        owners = torch.arange(clients, device=targets.device).repeat_interleave(windows)
        return self._by_segment(theta, inputs.flatten(0, 1), targets.flatten(0, 1), owners)

    def by_window(self, theta: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Gradient of every window's mean loss: a `client.training.gradients.PerExample`.

        Returns
        -------
        Tensor float32 [clients, windows, dim]
        """
        clients, windows, _ = targets.shape
        own = torch.arange(clients * windows, device=targets.device)
        shared = theta.stride(0) == 0
        spread = theta[:1].expand(len(own), -1) if shared else theta.repeat_interleave(windows, 0)
        flat = self._by_segment(spread, inputs.flatten(0, 1), targets.flatten(0, 1), own)
        return flat.view(clients, windows, -1)

    def together(self, theta: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Gradient [dim] of the sum of the clients' mean losses, at one adapter [dim].

        No client's own gradient is ever formed.
        """
        clients, windows, _ = targets.shape
        owners = torch.arange(clients, device=targets.device).repeat_interleave(windows)
        row = pack(inputs.flatten(0, 1), targets.flatten(0, 1), owners, clients)
        if row is None:
            return torch.zeros_like(theta)
        weights = _weights(row, self._weights)
        alone = replace(row.packing, owners=torch.zeros_like(row.packing.owners), segments=1)
        return self._of_row(theta[None], replace(row, packing=alone), weights)[0]

    def _by_segment(self, theta: Tensor, inputs: Tensor, targets: Tensor, owners: Tensor) -> Tensor:
        row = pack(inputs, targets, owners, len(theta))
        if row is None:
            return torch.zeros(theta.shape, dtype=theta.dtype, device=theta.device)
        return self._of_row(theta, row, _weights(row, self._weights))

    def _of_row(self, theta: Tensor, row: Row, weights: Tensor) -> Tensor:
        """Gradients [segments, dim] of the losses of a row's tokens, of those weights [T]."""
        total = torch.zeros(theta.shape, dtype=theta.dtype, device=theta.device)
        tensors = self._leaves(theta)
        with self._recommender.packed(row.packing):
            states = functional_call(self._hidden, self._all(tensors), (row.inputs,))
            slopes = self._score(total, theta, row, weights, states.detach())
            if not states.requires_grad:  # nothing but the bias is trained
                return total
            found = torch.autograd.grad(states, list(tensors.values()), slopes, allow_unused=True)
        self._accumulate(total, tensors, found)
        return total

    def _score(
        self, total: Tensor, theta: Tensor, row: Row, weights: Tensor, states: Tensor
    ) -> Tensor:
        """The slope of the losses in every state [T, hidden]; adds to `total` what scores give."""
        slopes = torch.zeros_like(states)
        for piece in _pieces(row.packing, self._piece):
            segments, packing = piece.packing(row.packing)
            shared = theta.stride(0) == 0
            some = theta[:1].expand(len(segments), -1) if shared else theta[segments]
            tensors = self._leaves(some)
            piece_states = functional.pad(states[piece.tokens], (0, 0, 0, packing.filler))
            state = piece_states.requires_grad_(True)
            about = (
                functional.pad(x[piece.tokens], (0, packing.filler)) for x in (row.targets, weights)
            )
            with self._recommender.packed(packing):
                scores = functional_call(self._scores, self._all(tensors), (state,))
                found = torch.autograd.grad(
                    scores,
                    [state, *tensors.values()],
                    _slope(scores.detach(), *about),
                    allow_unused=True,
                )
            slopes[piece.tokens] = found[0][: len(found[0]) - packing.filler]
            self._accumulate(total, tensors, found[1:], segments)
        return slopes

    def _leaves(self, theta: Tensor) -> Tensors:
        """The adapter's tensors to be differentiated, [segments, *shape]."""
        tensors = self._schema.unflatten(theta.detach())
        return {name: tensor.requires_grad_(True) for name, tensor in tensors.items()}

    def _all(self, tensors: Tensors) -> Tensors:
        return _named({**self._frozen, **tensors})

    def _accumulate(
        self,
        total: Tensor,
        tensors: Tensors,
        found: tuple[Tensor | None, ...],
        segments: Tensor | None = None,
    ) -> None:
        """Add gradients to the rows of their segments; without segments to all, in order."""
        for name, gradient in zip(tensors, found, strict=True):
            if gradient is None:
                continue
            part = total[:, self._schema.slice_of(name)]
            if segments is None:
                part += gradient.reshape(part.shape)
            else:
                part.index_add_(0, segments, gradient.reshape(len(segments), -1))


@dataclass(frozen=True)
class _Piece:
    """Some windows of a row that follow each other."""

    first: int
    last: int  # exclusive
    tokens: slice

    def packing(self, whole: Packing) -> tuple[Tensor, Packing]:
        """Which segments the windows are of, and their packing among those alone."""
        segments, owners = torch.unique(whole.owners[self.first : self.last], return_inverse=True)
        lengths = whole.lengths[self.first : self.last]
        return segments, _packing(lengths, owners, len(segments))


def _pieces(packing: Packing, tokens: int) -> Iterator[_Piece]:
    """Whole windows, up to so many tokens at a time."""
    first = start = stop = 0
    for window, length in enumerate(packing.lengths):
        if window > first and stop - start + length > tokens:
            yield _Piece(first, window, slice(start, stop))
            first, start = window, stop
        stop += length
    yield _Piece(first, len(packing.lengths), slice(start, stop))


def _weights(row: Row, weights: TargetWeights | None) -> Tensor:
    """Of every token in its segment's mean loss, float32 [T]: w / targets of the segment, or 0.

    Self-normalised, over the sum of its weights.
    """
    each = (row.targets >= 0).float()
    counted = each if weights is None else weights.counted(row.targets)
    if weights is not None and weights.self_normalised:
        each = counted
    segment = row.packing.segment_of
    total = each.new_zeros(row.packing.segments).index_add_(0, segment, each)
    return counted / total[segment].clamp(min=torch.finfo(total.dtype).tiny)


def _slope(scores: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """d loss / d scores [T, items], of losses of those weights [T]."""
    slope = torch.softmax(scores, dim=-1)
    known = targets.clamp(min=0)[:, None]
    slope.scatter_add_(1, known, slope.new_full((1, 1), -1.0).expand(len(slope), 1))
    return slope.mul_(weights[:, None])


def _named(tensors: Tensors) -> Tensors:
    return {f"recommender.{name}": tensor for name, tensor in tensors.items()}


def last_scores(
    recommender: Recommender, adapter: Tensors, windows: Tensor, last: Tensor
) -> Tensor:
    """Scores of all items after the last item of every window.

    Parameters
    ----------
    adapter : dict of Tensor
        One for all windows.
    windows : Tensor int64 [n, length]
    last : Tensor int64 [n]
        Where each window ends.

    Returns
    -------
    Tensor [n, items]
    """
    places = torch.arange(windows.shape[1], device=windows.device)
    ends = torch.where(places == last[:, None], 0, -1)
    row = pack(windows, ends, torch.zeros_like(last), 1)
    if row is None:
        return recommender.items.new_zeros(0, len(recommender.items))
    stop = torch.tensor(row.packing.lengths, device=windows.device).cumsum(0) - 1
    with recommender.packed(row.packing):
        states = functional_call(_Hidden(recommender), _named(adapter), (row.inputs,))[stop]
        scores = functional_call(_Scores(recommender), _named(adapter), (states,))
    return torch.empty_like(scores).index_copy_(0, row.windows, scores)


def why_not_packed(recommender: Recommender) -> str:
    """What keeps a backbone from reading packed windows as it reads padded ones; empty if nothing.

    Two made-up windows are read both ways.
    """
    items, device = len(recommender.items), recommender.items.device
    inputs = torch.arange(12, device=device).view(2, 6) % items
    targets = inputs.clone()
    targets[1, 3:] = -1
    row = pack(inputs, targets, torch.zeros(2, dtype=torch.int64, device=device), 1)
    if row is None:
        return "no windows"
    try:
        with torch.no_grad(), recommender.packed(row.packing):
            found = recommender.read(row.inputs)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever a foreign model raises at a call that it does not know
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    with torch.no_grad():
        window, place = row.packing.window_of[:9], row.packing.positions[:9]  # 6 and 3
        expected, found = recommender.read(inputs)[window, place], found[:9]
    apart = float((found - expected).norm() / expected.norm())
    return "" if apart <= _APART[recommender.dtype] else f"its states are {apart:.1e} apart"


class _Hidden(nn.Module):
    """`functional_call` calls modules: the recommender's states as one."""

    def __init__(self, recommender: Recommender) -> None:
        super().__init__()
        self.recommender = recommender

    def forward(self, inputs: Tensor) -> Tensor:
        return self.recommender.hidden(inputs)


class _Scores(_Hidden):
    def forward(self, state: Tensor) -> Tensor:
        return self.recommender.score(state)
