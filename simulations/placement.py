"""Where and how the model computes: device, precision, and how many clients fit at once.

Nothing here changes what is computed by more than rounding.
"""

from __future__ import annotations

from typing import Any

import torch

from shared.config import EngineConfig
from shared.errors import ConfigError
from shared.model.backbone import blocks
from shared.model.recommender import Recommender
from shared.model.recompute import recompute_blocks

_CPU_BUDGET = 512 * 2**20  # bytes per micro-batch when none is given
_GPU_SHARE = 0.5  # of the memory that is free on a GPU
_MOST_CLIENTS = {"cpu": 16, "mps": 16, "cuda": 256}  # more at once gained nothing on a CPU

# Activations that a block keeps for its backward pass, in units of its widths. Fitted to measured
# peaks of BERT, Qwen2 and GPT-2 shapes with LoRA on every layer, and rounded up.
_HIDDEN, _ATTENTION = 20, 4
_FUSED, _STEPWISE = 4, 12  # of the inner width: one operation, or a gate or formula step by step


def choose_device(name: str) -> torch.device:
    """`auto` takes CUDA, then MPS, then the CPU.

    `cuda` is the first GPU that this process may see: one that is given a share of a GPU, as a Ray
    actor is, sees that GPU alone.

    Raises
    ------
    ConfigError
        If the device is not available.
    """
    absent = {"cuda": not torch.cuda.is_available(), "mps": not torch.backends.mps.is_available()}
    if absent.get(name, False):
        raise ConfigError(f"engine.device = {name}: not available here; use auto or cpu")
    if name == "auto":
        name = next((found for found, missing in absent.items() if not missing), "cpu")
    return torch.device("cuda:0" if name == "cuda" else name)


def place(recommender: Recommender, config: EngineConfig) -> Recommender:
    """Bring a recommender, in place, to the device and the precision that the settings name.

    Raises
    ------
    ConfigError
        If the device is not available, or the backbone's blocks cannot be recomputed.
    """
    recommender.to(choose_device(config.device))
    if config.dtype == "bf16":
        recommender.compute_in(torch.bfloat16)
    if config.checkpointing:
        recompute_blocks(recommender.backbone)
    return recommender


def activation_bytes(recommender: Recommender, length: int, config: EngineConfig) -> int:
    """About how much one window of `length` items keeps for the backward pass, scores included."""
    shape: Any = recommender.backbone.config
    layers = len(blocks(recommender.backbone) or ()) or shape.num_hidden_layers
    positions = length + len(recommender.words)
    inner = getattr(shape, "intermediate_size", None) or 4 * shape.hidden_size
    heads = shape.num_attention_heads * positions
    fused = getattr(shape, "hidden_act", None) in ("gelu", "relu")
    block = _HIDDEN * shape.hidden_size + (_FUSED if fused else _STEPWISE) * inner
    block += _ATTENTION * heads
    kept: int = block + layers * shape.hidden_size if config.checkpointing else layers * block
    size = recommender.dtype.itemsize
    return positions * size * kept + 4 * 4 * length * len(recommender.items)


def clients_at_once(
    recommender: Recommender, windows: int, length: int, config: EngineConfig, extra: int = 0
) -> int:
    """How many clients of so many windows each fit into memory; at least 1.

    Parameters
    ----------
    windows, length : int
        Of one client, and items of a window.
    extra : int
        Bytes that every window takes beside its activations.
    """
    if config.micro_batch:
        return config.micro_batch
    device = recommender.items.device
    budget = _CPU_BUDGET
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        budget = int(_GPU_SHARE * free)
    client = windows * (activation_bytes(recommender, length, config) + extra)
    return max(1, min(_MOST_CLIENTS.get(device.type, 1), budget // client))
