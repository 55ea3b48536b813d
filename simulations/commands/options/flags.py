"""Flags that stand for settings: what they take and their defaults are read from the settings.

Nothing is validated here: a flag's value goes where the setting would stand in a file.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from shared.config import ExperimentConfig
from shared.config.presets import preset_file
from simulations.api.settings import PRESET
from simulations.commands.options import choices, presets, sources

_PANELS = {
    "data": "Data",
    "privacy": "Privacy",
    "federation": "Training",
    "model": "Training",
    "sweep": "The curve",
    "engine": "This machine",
}
_NAMED: dict[str, Callable[[str], list[str]]] = {"data": sources, "preset": presets}


def flag(name: str, kind: type, setting: str, text: str) -> tuple[str, Any, Any]:
    """One field of a command's options, as `dataclasses.make_dataclass` takes it.

    Parameters
    ----------
    name : str
        Of the flag, with `_` for `-`.
    kind : type
        A `bool` is off until it is given; others are None.
    setting : str
        `section.name`; empty where the flag stands for none.
    text : str
        What it says of itself.
    """
    section = setting.partition(".")[0]
    accepted = accepted_words(setting)
    if accepted:
        text = f"{text.rstrip('.')}: {' | '.join(accepted)}."
    if setting:
        text = f"{text} Default: {default_of(setting)}."
    option = typer.Option(
        f"--{name.replace('_', '-')}",
        help=text,
        rich_help_panel=_PANELS.get(section, "The run"),
        autocompletion=choices(*accepted) if accepted else _NAMED.get(name),
        show_default=False,
    )
    if kind is bool:
        return name, Annotated[bool, option], False
    return name, Annotated[kind | None, option], None


def accepted_words(setting: str) -> tuple[str, ...]:
    """The words that a setting takes, or a list of such; empty where it takes anything else."""
    if not setting:
        return ()
    hint = get_type_hints(_section(setting))[setting.partition(".")[2]]
    inner = get_args(hint)[0] if get_origin(hint) is tuple else hint
    return get_args(inner) if get_origin(inner) is Literal else ()


def default_of(setting: str) -> str:
    """What a run has that nobody sets it for: of the preset, with noise too, or of the section."""
    section, _, name = setting.partition(".")
    tree = _preset()
    inside = {field.name: field.default for field in dataclasses.fields(_section(setting))}
    value = tree.get(section, {}).get(name)
    told = _plain(inside[name]) if value is None else f"{_plain(value)} (preset {PRESET})"
    noised = tree.get("private", {}).get(section, {}).get(name)
    return told if noised is None else f"{told}, with noise {_plain(noised)}"


def _section(setting: str) -> type:
    fields = {field.name: field.default for field in dataclasses.fields(ExperimentConfig)}
    return type(fields[setting.partition(".")[0]])


@lru_cache(maxsize=1)
def _preset() -> dict[str, Any]:
    return tomllib.loads(Path(preset_file(PRESET)).read_text(encoding="utf-8"))


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return "unset" if value is None or value == "" else str(value)
