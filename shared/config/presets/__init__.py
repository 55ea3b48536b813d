"""Settings by the name of a preset or from a file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from shared.config import ExperimentConfig, from_dict, load_toml
from shared.errors import ConfigError, nearest

_FOLDER = Path(__file__).parent


def preset_names() -> list[str]:
    """All committed settings."""
    return sorted(file.stem for file in _FOLDER.glob("*.toml"))


def preset_file(name: str) -> Path:
    """The committed settings of that name.

    Raises
    ------
    ConfigError
        If there are none, listing those there are.
    """
    names = preset_names()
    if name not in names:
        known = f"there are {', '.join(names)}{nearest(name, names)}"
        raise ConfigError(f"--preset {name}: unknown; {known}")
    return _FOLDER / f"{name}.toml"


def chosen_settings(config: Path | None, preset: str | None) -> ExperimentConfig:
    """What `--config` or `--preset` says, or the defaults.

    Raises
    ------
    ConfigError
        If both are given, or a setting is wrong.
    """
    if config is not None and preset is not None:
        raise ConfigError("--config and --preset: give one of them")
    file = preset_file(preset) if preset is not None else config
    return ExperimentConfig() if file is None else from_dict(load_toml(file), source=str(file))


def override(
    tree: dict[str, Any], flags: dict[str, Any], *, preset: bool = False
) -> ExperimentConfig:
    """Settings with some replaced, for every point.

    Parameters
    ----------
    tree : dict
        Nested, as read from TOML; changed in place.
    flags : dict
        `section.name` -> value.
    preset : bool
        Whether the tree is a committed one: moments, which nobody asked for, then give way to
        flags that they do not go with. A file's own are refused with these.

    Raises
    ------
    ConfigError
        If a value is out of range, or the settings are those of a single point.
    """
    if tree.get("privacy", {}).get("epsilon", math.inf) != math.inf or tree.get("seed", 0) != 0:
        raise ConfigError(
            "settings: privacy.epsilon and seed belong to one point; give sweep.epsilons and "
            "sweep.seeds (or --epsilon and --seeds)"
        )
    if "federation.aggregation" in flags:  # what follows from the rule that was there before
        tree.get("model", {}).pop("factors", None)
    popular = flags.get("federation.popularity_start", True)  # moments rest on the histogram
    if preset and (flags.get("privacy.unit", "user") != "user" or not popular):
        tree.get("model", {}).pop("moments_rank", None)
    for key, value in flags.items():
        section, _, name = key.partition(".")
        tree.setdefault(section, {})[name] = value
        # A flag speaks for every point, the noised ones too.
        tree.get("private", {}).get(section, {}).pop(name, None)
    return from_dict(tree, source="settings")
