"""Versions of Python and of every package, against what the project accepts."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .probe import ROOT, Answers
from .show import Check

_NEEDED = ("", "device", "simulate", "minilm")  # extras of the main job; others are optional
_SKIPPED = ("dev",)
_RAY = "only `--engine ray` needs it"


def package_checks(answers: Answers) -> Iterator[Check]:
    """Python, then one finding for each package, then whether they agree with each other."""
    wanted, python = requirements()
    yield _python(python)
    imports = answers["imports"]  # takes seconds: what needs none of it is told before
    for line, extra in wanted:
        yield package(line, extra, imports, version_of(_name(line)))
    if not any(_name(line) == "ray" for line, _ in wanted):
        yield package("ray", "ray", imports, version_of("ray"))
    yield agreement([_name(line) for line, _ in wanted])


def requirements(root: Path = ROOT) -> tuple[list[tuple[str, str]], str]:
    """What the project asks for.

    Returns
    -------
    wanted : list of (requirement, extra)
        Such as `("numpy>=2.0", "")`; of pyproject.toml where there is one, else as installed.
    python : str
        Such as `>=3.11,<3.14`.
    """
    file = root / "pyproject.toml"
    if file.is_file():
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        wanted = [(line, "") for line in project["dependencies"]]
        for extra, lines in project["optional-dependencies"].items():
            wanted += [(line, extra) for line in lines]
        python = project["requires-python"]
    else:
        metadata = importlib.metadata.metadata("starling")
        wanted = [_installed(line) for line in metadata.get_all("Requires-Dist") or []]
        python = metadata["Requires-Python"] or ""
    return [one for one in wanted if one[1] not in _SKIPPED and _name(one[0]) != "starling"], python


def _installed(line: str) -> tuple[str, str]:
    requirement, _, marker = line.partition(";")
    extra = re.search(r"extra == ['\"]([^'\"]+)", marker)
    return requirement.strip(), extra[1] if extra else ""


def _name(line: str) -> str:
    """Of a requirement: `flwr` for `flwr[simulation]>=1.41,<1.42`."""
    return re.split(r"[^A-Za-z0-9._-]", line.strip(), maxsplit=1)[0].lower()


def version_of(name: str) -> str | None:
    """The installed version; None if there is none or its metadata is broken."""
    try:
        return importlib.metadata.version(name)
    except Exception:  # a half-removed package raises more than PackageNotFoundError
        return None


def accepts(requirement: str, version: str) -> bool | None:
    """Whether a version is in the range of a requirement; None if that cannot be told."""
    try:
        from packaging.requirements import Requirement

        return Requirement(requirement).specifier.contains(version, prereleases=True)
    except Exception:  # packaging is missing, or a version that it does not understand
        return None


def _python(wanted: str) -> Check:
    found = f"{platform.python_version()}, {sys.executable}"
    if accepts(f"python{wanted}", platform.python_version()) is False:
        return Check("python", "wrong", found, f"use one that is {wanted}")
    return Check("python", "ok", f"{found} ({wanted})")


def package(line: str, extra: str, imports: dict[str, Any], version: str | None) -> Check:
    """One package.

    Parameters
    ----------
    line : str
        The requirement.
    extra : str
        Which optional part asks for it; empty for all parts.
    imports : dict
        By module: None, or why it cannot be imported.
    version : str or None
        As installed.
    """
    name, needed = _name(line), extra in _NEEDED
    note = f"; {_RAY}" if name == "ray" else ""
    install = f"pip install '{line}'"
    if version is None:
        return Check(name, "missing", f"not installed{note}", install, needed)
    if accepts(line, version) is False:
        wanted = line[len(name) :]
        return Check(name, "wrong", f"{version}, wanted {wanted}", install, needed)
    reason = imports.get(name.replace("-", "_"))
    if reason is not None:
        again = f"pip install --force-reinstall '{line}'"
        return Check(name, "wrong", f"{version}, cannot be imported: {reason}", again, needed)
    return Check(name, "ok", f"{version}{note}", needed=needed)


def agreement(names: list[str]) -> Check:
    """Whether what our packages ask of others is installed, such as typer of click."""
    title = "packages among each other"
    try:
        found = [clash for name in names for clash in _clashes(name)]
    except ImportError:
        return Check(title, "wrong", "cannot be told", "pip install packaging", needed=False)
    if not found:
        return Check(title, "ok", "agree")
    again = "install into a fresh environment: make setup"
    return Check(title, "wrong", "; ".join(sorted(set(found))), again, needed=False)


def _clashes(name: str) -> Iterator[str]:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        lines = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for line in lines:
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            continue
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        version = version_of(wanted.name)
        if version is None or not wanted.specifier.contains(version, prereleases=True):
            yield f"{name} asks for {wanted.name}{wanted.specifier}, there is {version or 'none'}"
