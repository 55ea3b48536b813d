"""Keep freed memory for the next batch, where the C library allows to say so."""

from __future__ import annotations

import ctypes
import sys

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
