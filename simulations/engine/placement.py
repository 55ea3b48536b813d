"""Where and how the model computes: device, precision, and how many clients fit at once.

Nothing here changes what is computed by more than rounding.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from shared.config import EngineConfig
from shared.errors import ConfigError
from shared.model.backbone import blocks
from shared.model.recommender import Recommender
from shared.model.recompute import recompute_blocks
from simulations.engine.packed import ROUND, piece_bytes

# glibc's <malloc.h>
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_CPU_BUDGET = 512 * 2**20  # bytes per micro-batch when none is given
_GPU_SHARE = 0.5  # of the memory that is free on a GPU
_BLOCK, _FEW_TOKENS = 128, 64
_MOST_TOKENS = {"cpu": 2048, "mps": 2048, "cuda": 2**16}  # more at once gained nothing on a CPU


class _Kept(NamedTuple):
    """Activations that a block keeps for its backward pass, in units of its widths.

    Fitted to measured peaks of BERT, Qwen2 and GPT-2 shapes with LoRA on every layer, rounded up.
    """

    hidden: int
    fused: int  # of the inner width, where what lies between its layers is one operation
    stepwise: int  # likewise, where it is a gate or a formula step by step


_MAPPED = _Kept(20, 4, 12)  # `torch.func` prepares for a second derivative
_PACKED = _Kept(10, 3, 6)
_ATTENTION = 4  # weights of all heads, where they are kept


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
    positions = length + len(recommender.words)
    shape: Any = recommender.backbone.config
    attention = _ATTENTION * shape.num_attention_heads * positions
    kept = _block_widths(recommender, config, _MAPPED, attention)
    states: int = positions * recommender.dtype.itemsize * kept
    return states + 4 * 4 * length * len(recommender.items)


def token_bytes(recommender: Recommender, config: EngineConfig) -> int:
    """About how much one token of a packed window keeps for the backward pass.

    Neither scores nor attention weights are among it: both are made a piece at a time.
    """
    # A block that is run again is differentiated as a function, like the mapped ones.
    kept = _MAPPED if config.checkpointing else _PACKED
    return recommender.dtype.itemsize * _block_widths(recommender, config, kept, 0)


def _block_widths(
    recommender: Recommender, config: EngineConfig, kept: _Kept, attention: int
) -> int:
    """Numbers that all blocks keep of one position."""
    shape: Any = recommender.backbone.config
    layers = len(blocks(recommender.backbone) or ()) or shape.num_hidden_layers
    inner = getattr(shape, "intermediate_size", None) or getattr(shape, "n_inner", None)
    fused = getattr(shape, "hidden_act", None) in ("gelu", "relu")
    block = kept.hidden * shape.hidden_size + attention
    block += (kept.fused if fused else kept.stepwise) * (inner or 4 * shape.hidden_size)
    total: int = block + layers * shape.hidden_size if config.checkpointing else layers * block
    return total


@dataclass(frozen=True)
class Capacity:
    """How many clients are trained at once.

    Attributes
    ----------
    clients : int
        At most; 0 leaves it to the memory.
    budget : int
        Bytes.
    token, client : int
        Bytes that each takes.
    tokens : int
        More tokens at once than this gained nothing.
    padded : bool
        Every window takes as much as a full one, every client as much as the largest of its batch.
    length, words : int
        Items of a full window, and positions before each window.
    """

    clients: int
    budget: int
    token: int
    client: int
    tokens: int
    padded: bool
    length: int
    words: int

    @property
    def block(self) -> int:
        """Clients that are prepared together: more than are ever trained at once."""
        return max(_BLOCK, self.clients, self.tokens // _FEW_TOKENS)

    def taken(self, targets: int) -> int:
        """Tokens of a client with so many targets in one local step."""
        windows = -(-targets // self.length)
        return windows * self.words + (windows * self.length if self.padded else targets)

    def split(self, sizes: Sequence[int]) -> list[int]:
        """Clients of so many tokens each, descending -> how many of them go together, in order."""
        groups: list[int] = []
        start = 0
        while start < len(sizes):
            count = tokens = 0
            for size in sizes[start:]:
                tokens = (count + 1) * sizes[start] if self.padded else tokens + size
                if count and not self._fits(count + 1, tokens):
                    break
                count += 1
            groups.append(count)
            start += count
        return groups

    def _fits(self, clients: int, tokens: int) -> bool:
        if self.clients:
            return clients <= self.clients
        taken = tokens * self.token + clients * self.client
        return tokens <= self.tokens and taken <= self.budget


def capacity(
    recommender: Recommender, config: EngineConfig, length: int, client: int, *, padded: bool
) -> Capacity:
    """What fits on the device that a recommender is on.

    Parameters
    ----------
    length : int
        Items of a window.
    client : int
        Bytes of one client beside its activations, such as its own gradient.
    padded : bool
        Windows are padded to one length.
    """
    device = recommender.items.device
    words, budget = len(recommender.words), _budget(device, config)
    if padded:
        token = activation_bytes(recommender, length, config) // (length + words)
    else:
        token = token_bytes(recommender, config)
        filler = ROUND.get(device.type, 1) * token
        budget = max(0, budget - piece_bytes(recommender) - filler)
    most = _MOST_TOKENS.get(device.type, 1)
    return Capacity(config.micro_batch, budget, token, client, most, padded, length, words)


def _budget(device: torch.device, config: EngineConfig) -> int:
    if config.memory_mib:
        return config.memory_mib * 2**20
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(_GPU_SHARE * (config.gpus_per_client or 1.0) * (free + kept))
    return _CPU_BUDGET


def keep_freed_memory() -> bool:
    """Stop glibc from returning large blocks to the system after every operation.

    Torch frees and allocates the same tens of megabytes in every step; fetching them anew costs a
    page fault per 4 KiB, half of the time of a step here. True if the setting took.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library: nothing to tune
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 * 2**20))
    return sum(bool(mallopt(name, value)) for name, value in settings) == len(settings)


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """Most memory that tensors took at one time while `work` ran, beyond what stood before.

    Parameters
    ----------
    work : callable
        Run once.
    device : torch.device
        `cpu` or `cuda`; others are not measured (0).
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    if device.type != "cpu":
        work()
        return 0
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        work()
    live = most = 0
    records = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    for record in sorted(records, key=lambda record: record.start_ns()):
        live += record.nbytes()  # negative where memory is given back
        most = max(most, live)
    return most
