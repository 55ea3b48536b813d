"""LoRA on a backbone's linear layers, named by role or by the backbone's own names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from shared.config import Factors
from shared.errors import ConfigError
from shared.model.directions import begin_along_weights
from shared.model.layers import AdapterLinear, linear_layers, transposed

_MLP = r"intermediate\.dense|(?<!attention\.)output\.dense|(?:gate|up|down)_proj|mlp\.c_(?:fc|proj)"
_OUTPUT = r"attention\.output\.dense|o_proj|attn\.c_proj"
# What each family calls the layer of a role: BERT; Qwen, Llama and their kin; GPT-2. GPT-2 holds
# query, key and value in one layer.
ROLES = {
    "query": r"query|q_proj|c_attn",
    "key": r"key|k_proj|c_attn",
    "value": r"value|v_proj|c_attn",
    "output": _OUTPUT,
    "mlp": _MLP,
    "dense": f"{_OUTPUT}|{_MLP}",
}


def target_layers(backbone: nn.Module, targets: Sequence[str]) -> list[str]:
    """Full names of the layers that `model.lora_targets` means, in the backbone's order.

    Parameters
    ----------
    backbone : nn.Module
    targets : sequence of str
        Roles (`query`, `key`, `value`, `output`, `mlp`, or `dense` for the last two), or names of
        layers as the backbone has them, whole or from a dot on.

    Raises
    ------
    ConfigError
        If one names nothing, listing what there is.
    """
    layers = list(linear_layers(backbone))
    chosen: set[str] = set()
    for target in targets:
        found = _matching(layers, ROLES.get(target, re.escape(target)))
        if not found:
            own = sorted({name.rpartition(".")[2] for name in layers})
            roles = [role for role, pattern in ROLES.items() if _matching(layers, pattern)]
            raise ConfigError(
                f"model.lora_targets = {list(targets)}: {target!r} is no linear layer of this "
                f"backbone; give roles ({', '.join(roles) or 'none known'}) or layers "
                f"({', '.join(own)})"
            )
        chosen.update(found)
    return [name for name in layers if name in chosen]


def _matching(layers: list[str], pattern: str) -> list[str]:
    ends = re.compile(rf"(?:^|\.)(?:{pattern})$")
    return [name for name in layers if ends.search(name)]


def add_lora(
    backbone: nn.Module,
    rank: int,
    alpha: float,
    targets: Sequence[str],
    generator: torch.Generator,
    factors: Factors = "drawn",
) -> nn.Module:
    """LoRA (Hu et al. 2021) on the named layers: A random, B zero, everything else frozen.

    A, or both factors and a zero core between them, may be the layer's own leading directions
    instead; see `shared.model.directions`.

    Parameters
    ----------
    rank : int
        >= 0; 0 leaves the backbone as it is.
    alpha : float
        The correction is scaled by alpha / rank.
    generator : torch.Generator
        The same seed gives the same A everywhere.
    factors : {"drawn", "principal", "core"}
        As `model.factors`.

    Raises
    ------
    ConfigError
        If a target is no layer of this backbone, one has fewer directions than the rank, or PEFT
        is not installed.
    """
    backbone.requires_grad_(False)
    if rank == 0:
        return backbone
    names = target_layers(backbone, targets)
    adapted = _injected(backbone, rank, alpha, names)
    if factors != "drawn":
        begin_along_weights(adapted, core=factors == "core")
        return adapted
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_A" in name:
                bound = parameter.shape[1] ** -0.5
                parameter.uniform_(-bound, bound, generator=generator)
    return adapted


def _injected(backbone: nn.Module, rank: int, alpha: float, names: list[str]) -> nn.Module:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise ConfigError(
            f"model.lora_rank = {rank}: needs the package peft; install it or give 0"
        ) from None
    modules = dict(backbone.named_modules())
    settings: dict[str, Any] = {
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": names,
        "lora_dropout": 0.0,
        "fan_in_fan_out": any(transposed(modules[name]) for name in names),
    }
    adapted: nn.Module = inject_adapter_in_model(LoraConfig(**settings), backbone)
    for name, layer in list(adapted.named_modules()):
        if isinstance(layer, nn.Linear) and (".lora_A." in name or ".lora_B." in name):
            owner, _, own = name.rpartition(".")
            setattr(adapted.get_submodule(owner), own, _adapter_layer(layer))
    return adapted


def _adapter_layer(layer: nn.Linear) -> AdapterLinear:
    made = AdapterLinear(layer.in_features, layer.out_features)
    made.weight = layer.weight
    return made
