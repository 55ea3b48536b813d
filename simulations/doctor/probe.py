"""Questions that only the packages themselves can answer, asked in processes of their own.

A package that is broken may raise anything, hang, or take its process down; the doctor survives.
Run as a file, with the name of a question: prints the answer as JSON.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]  # where our rooms lie
SECONDS = 600.0  # for one process, against waiting for ever: a busy machine takes minutes
Answers = dict[str, Any]

# Two processes side by side, each importing about half of everything.
IMPORTS = {
    "model": ("torch", "numpy", "safetensors", "transformers", "peft", "opacus"),
    "rest": (
        "flwr", "scipy", "dp_accounting", "cryptography", "pydantic", "platformdirs",
        "tomli_w", "filelock", "typer", "rich", "jinja2", "matplotlib", "pyarrow",
    ),
}  # fmt: skip


class _Asked(Answers):
    """Answers that are waited for when the first of them is needed."""

    def __init__(self, started: list[subprocess.Popen[str]]) -> None:
        super().__init__()
        self._started = started

    def __missing__(self, question: str) -> Any:
        if not self._started:
            raise KeyError(question)
        there = sys.stderr is not None and sys.stderr.isatty()
        if there:
            sys.stderr.write("importing every package once ...")
            sys.stderr.flush()
        self["imports"] = {}
        for group, process in zip(IMPORTS, self._started, strict=True):
            found = _collect(process, group)
            self["imports"] |= found.pop("imports")
            self.update(found)
        self._started = []
        if there:
            sys.stderr.write("\r\x1b[K")
        return self[question]


def ask() -> Answers:
    """The answers to all questions: asked at once, waited for when the first is read.

    Returns
    -------
    dict
        `imports`: by module, None or why it cannot be imported. By question, a dict: `torch`,
        `backbone`, `smollm2`, `cache`, `key`, `data`; `{"error": ...}` where it could not be
        answered.
    """
    started = [
        subprocess.Popen(
            [sys.executable, __file__, group],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for group in IMPORTS
    ]
    return _Asked(started)


def _collect(process: subprocess.Popen[str], group: str) -> Answers:
    try:
        out, err = process.communicate(timeout=SECONDS)
        found: Answers = json.loads(out.strip().splitlines()[-1])
        return found
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        reason = f"no answer within {SECONDS:.0f} s"
    except (ValueError, IndexError):
        last = err.strip().splitlines()[-1:] or ["it said nothing"]
        reason = f"ended with code {process.returncode}: {last[0]}"
    failed = {"error": f"importing {', '.join(IMPORTS[group])}: {reason}"}
    return {"imports": dict.fromkeys(IMPORTS[group], reason)} | dict.fromkeys(
        _QUESTIONS[group], failed
    )


def _answer(group: str) -> Answers:
    """In the other process: import, then ask."""
    sys.path[0] = str(ROOT)  # instead of this folder, whose modules are not to be found
    reasons = {name: _reason(partial(importlib.import_module, name)) for name in IMPORTS[group]}
    found: Answers = {"imports": reasons}
    for name, question in _QUESTIONS[group].items():
        try:
            found[name] = question()
        except Exception as error:  # whatever a broken package raises is the answer
            found[name] = {"error": _words(error)}
    return found


def _reason(action: Callable[[], object]) -> str | None:
    try:
        action()
    except Exception as error:  # whatever a broken package raises is the answer
        return _words(error)
    return None


def _words(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


def _torch() -> Answers:
    import torch

    devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "gpus": [[device.name, device.total_memory] for device in devices],
        "usable": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }


def _backbone() -> Answers:
    from shared.model.backbone import resolve

    found = resolve("minilm")
    return {"folder": found.location, "sha256": found.digest}


def _smollm2() -> Answers:
    from shared.model.backbone import resolve

    found = resolve("smollm2")
    return {"folder": found.location, "sha256": found.digest}


def _cache() -> Answers:
    from shared.files import cache_folder

    return {"folder": str(cache_folder())}


def _key() -> Answers:
    from shared.privacy.keys import key_path, trusted_public_key

    file = key_path()
    mistake = _reason(trusted_public_key)  # makes no key
    return {"file": str(file), "exists": file.exists(), "mistake": mistake}


def _data() -> Answers:
    from shared.data.sources import known_sources

    return {
        source.name: str(source.folder) if source.folder else None for source in known_sources()
    }


_QUESTIONS: dict[str, dict[str, Callable[[], Answers]]] = {
    "model": {"torch": _torch, "backbone": _backbone, "smollm2": _smollm2, "cache": _cache},
    "rest": {"key": _key, "data": _data},
}


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(_answer(sys.argv[1])) + "\n")
