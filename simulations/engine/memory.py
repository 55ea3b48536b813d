"""Memory of the process: kept for the next batch where the C library allows it, and measured."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

import torch

# glibc's <malloc.h>
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


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
