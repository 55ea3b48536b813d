"""Gradient checkpointing that works under `torch.func`: a block keeps its input alone.

Torch's own checkpointing rests on saved-tensor hooks, which `torch.func.grad` refuses. Here a block
is one operation whose backward pass runs the block again,

    y = f(x, A, B)         forward: nothing but x, A, B is kept
    (dx, dA, dB) = J' dy   backward: the vector-Jacobian product of f at x, A, B

under `vmap`, `grad` or neither. f draws nothing at random (dropout is zero), so both runs agree.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp
from torch.utils._pytree import tree_flatten, tree_unflatten  # as torch.func itself does

from shared.errors import ConfigError
from shared.model.backbone import blocks


def recompute_blocks(backbone: nn.Module) -> None:
    """Let every block of a backbone forget its inner activations, in place.

    No name changes: an adapter trained with it and one trained without have the same schema.

    Raises
    ------
    ConfigError
        If the blocks of this backbone do not offer it.
    """
    found: Any = blocks(backbone)
    if not found or not all(hasattr(block, "gradient_checkpointing") for block in found):
        raise ConfigError(
            f"engine.checkpointing = true: the blocks of {type(backbone).__name__} cannot be "
            "recomputed; give false"
        )
    for block in found:
        # The place that transformers offers for it: called instead of the block, with its call.
        block.gradient_checkpointing = True
        block._gradient_checkpointing_func = partial(_recomputed, _Plain(block))


class _Plain(nn.Module):
    """A block, called the way it hands us: past its own checkpointing."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, call: partial[Tensor], args: list[Any], keywords: dict[str, Any]) -> Tensor:
        return call.func(*call.args, *args, **keywords)


def _recomputed(plain: _Plain, call: partial[Tensor], hidden: Tensor, *rest: Any) -> Tensor:
    _refuse_hooks(plain)
    # The tensors that stand in the block now: inside `functional_call` they are not its own.
    trained = {name: tensor for name, tensor in plain.named_parameters() if "lora_" in name}
    # Mask and positions are handed over too: a tensor that a function brings along instead would
    # belong to another level of `vmap` or `grad`.
    leaves, tree = tree_flatten((list(rest), call.keywords))
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]

    def run(x: Tensor, *tensors: Tensor) -> Tensor:
        named = dict(zip(trained, tensors, strict=False))
        filled = list(leaves)
        for place, tensor in zip(places, tensors[len(trained) :], strict=True):
            filled[place] = tensor
        args, keywords = tree_unflatten(filled, tree)
        output: Tensor = functional_call(plain, named, (call, [x, *args], keywords))
        return output

    constants = [leaves[place] for place in places]
    inputs = (run, 1 + len(trained), hidden, *trained.values(), *constants)
    output: Tensor = _Recomputed.apply(*inputs)  # type: ignore[no-untyped-call]  # torch: untyped
    return output


def _refuse_hooks(plain: _Plain) -> None:
    # Hooks of per-sample gradients would see the first run, which records nothing.
    if any(module._forward_hooks for module in plain.modules()):
        raise ConfigError(
            "engine.checkpointing = true: not together with per-sample gradients from hooks; "
            "give engine.checkpointing = false, or an engine that needs no hooks (cohort)"
        )


class _Recomputed(torch.autograd.Function):
    """run(x, A, B, ..., constants), of which the first `varying` arguments have a gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(run: Callable[..., Tensor], varying: int, *tensors: Tensor) -> Tensor:
        return run(*tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.run, ctx.varying, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        constants = len(ctx.saved_tensors) - ctx.varying
        inputs = (ctx.run, ctx.varying, *gradients, *ctx.saved_tensors)
        pulled = _PulledBack.apply(*inputs)  # type: ignore[no-untyped-call]  # torch: untyped
        return None, None, *pulled, *(None for _ in range(constants))


class _PulledBack(torch.autograd.Function):
    """J' dy. An operation of its own, or `torch.func.grad`, which always prepares for a second
    derivative, would keep all that it computes.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        run: Callable[..., Tensor], varying: int, gradient: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        moving, constants = tensors[:varying], tensors[varying:]
        pull_back = vjp(lambda *moved: run(*moved, *constants), *moving)[1]
        pulled: tuple[Tensor, ...] = pull_back(gradient)
        return pulled

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        raise ConfigError(
            "engine.checkpointing = true: second derivatives are not kept; give false where they "
            "are needed"
        )
