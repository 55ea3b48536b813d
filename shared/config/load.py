"""Settings read from nested values or TOML, written as such, and their hash."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from shared.canonical import canonical_json, check_plain
from shared.config.rounds import AUTO, settled_rounds
from shared.config.rules import check_together, shape_model
from shared.config.sections import ExperimentConfig
from shared.errors import NO_BUDGET, ConfigError, nearest, nearest_of
from shared.files import read_file

_ADAPTER = TypeAdapter(ExperimentConfig)
# What the model is trained on, how, and under which guarantee. The engine changes speed only; the
# sweep and the reference points are other runs.
_BOUND = ("data", "world", "model", "train", "federation", "privacy", "seed")

GONE = ("data.digest", "privacy.relation")  # in the settings of runs and adapters of before
_GONE = (
    "it is of an earlier version, whose runs and adapters this one does not read: start a new run "
    "in another folder"
)


def to_dict(config: ExperimentConfig) -> dict[str, Any]:
    """Nested plain values; settings that are None are left out, as TOML has no null."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items() if item is not None}
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        return value

    tree: dict[str, Any] = plain(dataclasses.asdict(config))
    return tree


def from_dict(tree: dict[str, Any], source: str = "configuration") -> ExperimentConfig:
    """Validated settings.

    Raises
    ------
    ConfigError
        For an unknown key or a value outside its range, naming key, value and `source`.
    """
    if not isinstance(tree, dict):
        raise ConfigError(f"{source}: expected a table of settings, not {type(tree).__name__}")
    try:
        check_plain(tree)
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from None
    try:
        config = _ADAPTER.validate_python(shape_model(tree))
        if config.private:  # a mistake in an override is an error now, not at the first point
            finite = [each for each in config.sweep.epsilons if math.isfinite(each)]
            at_epsilon(config, finite[0] if finite else 1.0, seed=0)
    except ValidationError as error:
        first, *more = error.errors()
        key, union = _key(first["loc"])
        if union and more:  # a number or a word: both are told
            first["msg"] += f", or {more[0]['msg'].removeprefix('Input should be ')}"
        if first["type"] == "unexpected_keyword_argument":
            known = _GONE if key in GONE else f"see docs/configuration.md{_near(key)}"
            raise ConfigError(f"{source}: unknown setting {key}; {known}") from None
        why = _why(key, first["input"], first["msg"])
        raise ConfigError(f"{source}: {key} = {first['input']!r}: {why}") from None
    check_together(config, source)
    return config


def settings_names() -> list[str]:
    """All settings, as `section.name`; sections, and what stands outside any, by their own name."""
    found = []
    for section in dataclasses.fields(ExperimentConfig):
        found.append(section.name)
        if dataclasses.is_dataclass(section.default):
            inside = dataclasses.fields(section.default)
            found += [f"{section.name}.{field.name}" for field in inside]
    return found


def _key(place: tuple[int | str, ...]) -> tuple[str, bool]:
    """The setting at a place, and whether pydantic says there which of several kinds it meant."""
    own = [str(part) for part in place if not re.match(r"(constrained-|literal\[)", str(part))]
    return ".".join(own), len(own) < len(place)


def _near(key: str) -> str:
    """The setting that was meant: its name misspelt, or under another section."""
    names = settings_names()
    last = key.rpartition(".")[2]
    moved = next((name for name in names if name.endswith(f".{last}")), None)
    return f"; did you mean {moved}?" if moved else nearest(key, names)


def _why(key: str, value: Any, told: str) -> str:
    """What is accepted, in the words of whoever types it."""
    budget = key.rpartition(".")[2] in ("epsilon", "example_epsilon") or "epsilons" in key
    if budget and value == 0:
        return NO_BUDGET
    return told + nearest_of(told, value)


def at_epsilon(config: ExperimentConfig, epsilon: float, seed: int) -> ExperimentConfig:
    """The settings of one point of the curve, its rounds settled where the people are counted.

    Parameters
    ----------
    config : ExperimentConfig
    epsilon : float
        Target privacy budget, > 0; `inf` gives the non-private point.
    seed : int
        Of everything that is random in the point.
    """
    tree = to_dict(config)
    tree["privacy"]["epsilon"] = epsilon
    tree["seed"] = seed
    private = tree.pop("private")
    del tree["model"]["factors"]  # follows from the rule, which the overrides may name
    if math.isfinite(epsilon):
        for section, settings in private.items():
            tree[section] |= settings
    if tree["federation"]["rounds"] == AUTO and (people := tree["data"].get("people")):
        tree["federation"]["rounds"] = settled_rounds(tree, people)
    return from_dict(tree, source=f"the point at epsilon {epsilon}")


def load_toml(path: Path) -> dict[str, Any]:
    """The nested values of a TOML file.

    Raises
    ------
    ConfigError
        If the file is missing, unreadable or not TOML.
    """
    try:
        return tomllib.loads(read_file(path).decode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:  # also no UTF-8, or 5000 digits
        raise ConfigError(f"{path}: not a TOML file: {error}") from None


def dump_toml(config: ExperimentConfig) -> str:
    """The settings as TOML text that `load_toml` and `from_dict` read back to an equal object."""
    import tomli_w  # absent where only the core is measured

    return tomli_w.dumps(to_dict(config))


def settings_hash(config: ExperimentConfig) -> str:
    """SHA-256 of one point's settings, as the ledger's header states it.

    Parameters
    ----------
    config : ExperimentConfig
        Of the point itself: `at_epsilon(experiment, epsilon, seed)`.

    Returns
    -------
    str
        64 hexadecimal digits. Equal settings give equal hashes, whatever the engine.
    """
    tree = to_dict(dataclasses.replace(config, private={}))
    bound = {section: tree[section] for section in _BOUND}
    return hashlib.sha256(canonical_json(bound).encode()).hexdigest()
