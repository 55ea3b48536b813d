"""What settings name by its place on a machine, and what is handed on of that: its name alone.

A run's own record (settings, results, adapter, policy) holds settings as they were typed, one text
under one hash, by which devices and later commands find weights and files again. What is made of a
run for others (its page, an export, what trackers are told) says what a file or folder is called,
and not where it lies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PLACES = {"data": ("spec",), "model": ("backbone", "start", "items")}
_PACKAGES = ("minilm", "smollm2")


def without_places(settings: Mapping[str, object]) -> dict[str, Any]:
    """Settings of which a file's or folder's place on this machine is its name alone.

    A cluster's address is left out.
    """
    tree: dict[str, Any] = {
        section: dict(found) if isinstance(found, Mapping) else found
        for section, found in settings.items()
    }
    for section, names in _PLACES.items():
        for name in names:
            found = tree.get(section, {}).get(name)
            if isinstance(found, str):
                tree[section][name] = name_alone(found)
    if isinstance(tree.get("engine"), dict):
        tree["engine"].pop("address", None)
    return tree


def name_alone(typed: str) -> str:
    """What a file or folder is called, of a path to it; anything else as it is."""
    return Path(typed).name if typed.startswith(("/", ".", "~")) else typed


def from_a_place(name: str, digest: str | None) -> bool:
    """Whether weights come from somebody's folder or file: no package's, nor the hub's.

    Parameters
    ----------
    name : str
        As the settings have it, `model.backbone` or `model.items`.
    digest : str or None
        That they state of it: of what a hub holds under a revision it is its name's own.
    """
    if digest is None:  # a run that states none
        return name not in _PACKAGES and "@" not in name
    return name not in _PACKAGES and digest != hashlib.sha256(name.encode()).hexdigest()


ELSEWHERE = {
    "vectors": "items' vectors come from a file",
    "reader": "language model's weights come from a folder or file",
    "encoder": "weights that the items' vectors are made with come from a folder or file",
}
"""What a run takes for public that lies in somebody's folder or file, in words."""
