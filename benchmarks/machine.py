"""What a measurement ran on, and how much memory a tree of processes takes."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import threading
from pathlib import Path
from typing import Any

_PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "numpy",
    "opacus",
    "flwr",
    "ray",
    "pfl",
    "dp-accounting",
)


def versions() -> dict[str, str]:
    """Of what is installed, Python included."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor, cores, memory, and a GPU if there is one."""
    import torch

    found: dict[str, Any] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory_gib": _memory_gib(),
        "system": platform.system(),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name(0)
    return found


def load() -> float:
    """Processes that wanted to run in the last minute, on average."""
    return os.getloadavg()[0]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError):
        return None


class TreeMemory:
    """Most memory that a process and all below it took at one time, asked every two seconds.

    A page that several processes share counts once (proportional set size, where the system tells).
    More often would take time from what is measured: an answer costs about 30 ms a gigabyte.
    """

    def __init__(self, process: int) -> None:
        self.peak = 0
        self._process = process
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """The peak in bytes."""
        self._stop.set()
        self._thread.join()
        return self.peak

    def _watch(self) -> None:
        try:
            import psutil
        except ImportError:
            return  # the process's own peak is known anyway
        while not self._stop.wait(2.0):
            try:
                root = psutil.Process(self._process)
                tree = [root, *root.children(recursive=True)]
            except psutil.Error:
                continue
            total = 0
            for one in tree:
                try:
                    used = one.memory_full_info()
                    total += getattr(used, "pss", used.rss)
                except psutil.Error:
                    continue  # it has ended
            self.peak = max(self.peak, total)
