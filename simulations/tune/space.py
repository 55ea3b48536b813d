"""What may be searched over: settings, each with the values that it may take."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, get_args, get_origin, get_type_hints

from optuna import Trial

from shared.config import ExperimentConfig
from shared.errors import ConfigError, nearest

DEFAULT = (
    "federation.server_lr=0.03..3,privacy.clipping_norm=0.05..1,model.lora_rank=1|2|4,"
    "model.projection_rank=8|16|32|64"
)
"""The settings whose best values depend most on data and budget (docs/tune.md)."""

# What a run promises, whom and what it is about, and what follows from other settings stay.
_SECTIONS = ("model", "train", "federation", "privacy")
_PRIVACY = (
    *("clipping_norm", "example_clipping_norm", "example_sampling", "histogram_share"),
    *("moments_share", "adaptive_clipping", "clipping_rate", "clipping_count_noise"),
)
_STAYS = (
    *("model.backbone", "model.backbone_sha256", "model.start", "model.start_sha256"),
    *("model.items", "model.items_sha256", "model.pooling"),
    *("model.start_is_public", "model.factors", "federation.secure_aggregation"),
    *("federation.metrics_every", "federation.metrics_cohort", "federation.select"),
)
_RANGE = re.compile(r"(?P<low>[^|]+?)\.\.(?P<high>[^|]+)")
_WIDE = 10.0  # from this ratio of its ends on a range is searched by its logarithm


@dataclass(frozen=True)
class Varied:
    """One setting, and what it may be.

    Attributes
    ----------
    setting : str
        As `section.name`.
    values : tuple
        Each value there is, or the two ends of a range.
    ranged : bool
        Which of these.
    """

    setting: str
    values: tuple[Any, ...]
    ranged: bool

    def suggested(self, trial: Trial) -> Any:
        """What a trial has of it."""
        if not self.ranged:
            return trial.suggest_categorical(self.setting, self.values)
        low, high = self.values
        wide = low > 0 and high / low >= _WIDE
        if isinstance(low, int):
            return trial.suggest_int(self.setting, low, high, log=wide)
        return trial.suggest_float(self.setting, low, high, log=wide)


def space_of(text: str) -> tuple[Varied, ...]:
    """A space as it is typed: `section.name=LOW..HIGH` or `section.name=A|B|C`, with commas.

    Raises
    ------
    ConfigError
        Naming the part that is none.
    """
    found = [_varied(part.strip()) for part in text.split(",")]
    names = [each.setting for each in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"--vary: {twice} is given twice; give it once")
    return tuple(found)


def _varied(part: str) -> Varied:
    name, equals, words = part.partition("=")
    if not (equals and words):
        raise ConfigError(
            f"--vary {part or chr(39) * 2}: expected section.name=LOW..HIGH or section.name=A|B, "
            f"with commas, such as {DEFAULT.partition(',')[0]}"
        )
    kind = _kind(name)
    if (ends := _RANGE.fullmatch(words)) and kind in (int, float):
        low, high = (_read(name, ends[each], kind) for each in ("low", "high"))
        if not low < high:
            raise ConfigError(f"--vary {part}: expected the lower end first")
        return Varied(name, (low, high), ranged=True)
    values = tuple(_read(name, word, kind) for word in words.split("|"))
    if len(set(values)) < max(2, len(values)):
        raise ConfigError(f"--vary {part}: expected at least two values, each once")
    return Varied(name, values, ranged=False)


def _kind(name: str) -> type:
    """What kind of value a setting takes: int, float, bool or str."""
    known = [each for section in _SECTIONS for each in _hints(section)]
    if name not in known:
        raise ConfigError(f"--vary {name}: {_why_not(name)}{nearest(name, known)}")
    kind: Any = _hints(name.partition(".")[0])[name]
    while get_args(kind) and get_origin(kind) is not tuple:  # Annotated, Literal, X | None
        kind = get_args(kind)[0]
    if get_origin(kind) is tuple:
        raise ConfigError(f"--vary {name}: is a list; give it in a settings file")
    return kind if isinstance(kind, type) else str


def _hints(section: str) -> dict[str, Any]:
    """Settings of a section that may be searched over, by full name, with their types."""
    kind = type(getattr(ExperimentConfig(), section))
    hints = get_type_hints(kind, include_extras=False)
    kept = {f"{section}.{name}": hint for name, hint in hints.items()}
    return {
        name: hint
        for name, hint in kept.items()
        if name not in _STAYS and (section != "privacy" or name.partition(".")[2] in _PRIVACY)
    }


def _why_not(name: str) -> str:
    if name.startswith("privacy."):
        return f"no setting to search over; of [privacy] there are {', '.join(_PRIVACY)}"
    if name in _STAYS or name.startswith(("data.", "world.", "engine.", "sweep.", "references.")):
        return "is what a search is about, or computed on, and stays as it is"
    return "unknown; give section.name of docs/configuration.md"


def _read(name: str, word: str, kind: type) -> Any:
    word = word.strip()
    if kind is bool:
        if word in ("true", "false"):
            return word == "true"
        raise ConfigError(f"--vary {name}: {word!r}: expected true or false")
    try:
        value = kind(word)
    except ValueError:
        told = {int: "a whole number", float: "a number"}.get(kind, "a word")
        raise ConfigError(f"--vary {name}: {word!r}: expected {told}") from None
    if kind is float and not abs(value) < float("inf"):
        raise ConfigError(f"--vary {name}: {word}: expected a number that is finite")
    return value
