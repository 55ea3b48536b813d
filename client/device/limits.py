"""How much of its machine a device may take: `[limits]` of `device.toml`. A guest's by default.

The system holds them too where the process runs under a unit file; these hold wherever it runs.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


class Overtime(BaseException):
    """A request takes longer than the owner allows; nothing that guards an answer may catch it."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Limits:
    """What a device's process takes at most.

    Attributes
    ----------
    threads : int
        That compute at once.
    nice : int
        0 to 19, the larger the sooner others come first.
    memory : int
        MiB of its own (data, not files that it maps), at least 512; what needs more fails.
    seconds : int
        For one answer.
    """

    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    nice: Annotated[int, Field(ge=0, le=19)] = 10
    memory: Annotated[int, Field(ge=512, le=1 << 24)] = 2048
    seconds: Annotated[int, Field(ge=1, le=86400)] = 900

    def hold(self) -> None:
        """Hold this process to them, for as long as it lives."""
        import torch  # which a folder is opened without

        torch.set_num_threads(self.threads)
        now = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, 0, max(now, self.nice))
        most, hard = self.memory << 20, resource.getrlimit(resource.RLIMIT_DATA)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Around one answer, in the main thread; Overtime when it takes too long."""

        def end(number: int, frame: object) -> None:
            raise Overtime

        before = signal.signal(signal.SIGALRM, end)
        signal.setitimer(signal.ITIMER_REAL, self.seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
