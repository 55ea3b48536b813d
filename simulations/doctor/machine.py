"""Processors, memory, GPU, disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .probe import Answers
from .show import Check, readable

_MEMORY = 2e9  # bytes that a small simulation needs
_DISK = 5e8  # bytes for a run and its cache
_SHARED = 1e9  # bytes of /dev/shm below which Ray's object store moves to the disk


def machine_checks(answers: Answers) -> Iterator[Check]:
    """What the machine computes with and writes to."""
    yield _processors()
    yield _memory()
    torch = answers["torch"]
    if "error" in torch:
        yield Check("torch build", "wrong", torch["error"], "make setup")
    else:
        kind = f"CUDA {torch['cuda']}" if torch["cuda"] else "no CUDA"
        yield Check("torch build", "ok", f"{torch['version']}, {kind}, {torch['threads']} threads")
        yield _gpu(torch)
    yield _disk(Path.cwd())
    yield _shared_memory(Path("/dev/shm"))


def _processors() -> Check:
    there = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    found = f"{there}" if usable == there else f"{usable} of {there} usable"
    return Check("processors", "ok", found)


def _memory() -> Check:
    free = _free_memory()
    if free is None:
        return Check("memory", "ok", "cannot be told on this system")
    if free < _MEMORY:
        advice = f"free some, {readable(_MEMORY)} are needed; a smaller --micro-batch needs less"
        return Check("memory", "wrong", f"{readable(free)} free", advice, needed=False)
    return Check("memory", "ok", f"{readable(free)} free")


def _free_memory() -> float | None:
    """Bytes: what the system has free, or less where a container is limited."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(float(ln.split()[1]) * 1024 for ln in lines if ln.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
    try:
        folder = Path("/sys/fs/cgroup")
        limit = float((folder / "memory.max").read_text(encoding="ascii"))
        used = float((folder / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no limit, or another system
        return free
    return min(free, limit - used)


def _gpu(torch: Answers) -> Check:
    if torch["usable"]:
        names = [f"{name} ({readable(size)})" for name, size in torch["gpus"]]
        return Check("GPU", "ok", ", ".join(names), needed=False)
    if torch["mps"]:
        return Check("GPU", "ok", "Apple's, as mps", needed=False)
    if not Path("/dev/nvidiactl").exists():
        return Check("GPU", "ok", "none; the CPU computes", needed=False)
    if torch["cuda"] is None:
        advice = "install a build of torch with CUDA"
        return Check("GPU", "wrong", "there, but torch was built without CUDA", advice, False)
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    seen = f"CUDA_VISIBLE_DEVICES={hidden}" if hidden is not None else "driver too old or busy"
    advice = f"unset what hides it, or use a driver for CUDA {torch['cuda']}"
    return Check("GPU", "wrong", f"there, but torch cannot use it ({seen})", advice, False)


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    if free < _DISK:
        advice = f"free some, {readable(_DISK)} are needed; or give --out on another disk"
        return Check("disk", "wrong", f"{readable(free)} free in {folder}", advice)
    return Check("disk", "ok", f"{readable(free)} free in {folder}")


def _shared_memory(folder: Path) -> Check:
    title = "shared memory"
    if not folder.is_dir():
        return Check(title, "ok", f"no {folder} on this system", needed=False)
    size = shutil.disk_usage(folder).total
    if size < _SHARED:
        advice = f"for Ray give the container more: docker run --shm-size={_SHARED:.0f}"
        return Check(title, "wrong", f"{readable(size)} in {folder}", advice, needed=False)
    return Check(title, "ok", f"{readable(size)} in {folder}", needed=False)
