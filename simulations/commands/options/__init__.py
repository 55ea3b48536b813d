"""Options of a command: all of them as one object, and lists, values with commas."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints

from shared.errors import ConfigError, StarlingError

Command = Callable[[Any], None]
_EMPTY = "''"  # how nothing is typed


def takes(
    options: type, settings: Mapping[str, str] | None = None
) -> Callable[[Command], Callable[..., None]]:
    """Make a command of a function of one object: its options are the fields of a dataclass.

    What is wrong with a value is told by the name of its setting and of the flag that gave it.

    Parameters
    ----------
    options : type
        A field's type is `Annotated[..., typer.Option(...)]`, as a parameter's of a command.
    settings : mapping, optional
        Of a field that stands for a setting of another name: which, as `section.name`.
    """
    called = settings or {}
    hints = get_type_hints(options, include_extras=True)
    parameters = [
        parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[name])
        for name, parameter in signature(options).parameters.items()
    ]

    def command_of(function: Command) -> Callable[..., None]:
        def command(**given: Any) -> None:
            usual = {name: each.default for name, each in signature(options).parameters.items()}
            typed = [name for name, value in given.items() if value != usual[name]]
            with naming({name: called.get(name, name) for name in typed}):
                function(options(**given))

        command.__doc__, command.__annotations__ = function.__doc__, hints
        command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
        return command

    return command_of


@contextmanager
def naming(typed: Mapping[str, str]) -> Iterator[None]:
    """Let an error that names a setting name the flag too: `privacy.delta (--delta) = 1.0`.

    Parameters
    ----------
    typed : mapping
        Of what was typed, the field's name and the setting's; both may stand in a message, the
        first under any section.
    """
    try:
        yield
    except StarlingError as error:
        told = str(error)
        for name, setting in typed.items():
            called = rf"(?<![\w.])((?:{re.escape(setting)}|(?:\w+\.)?{name})(?:\.\d+)?)(?= = )"
            told = re.sub(called, rf"\1 (--{name.replace('_', '-')})", told, count=1)
        if told != str(error):  # and where it stands is said
            error.args = (told.removeprefix("settings: "),)
        raise


def presets(incomplete: str) -> list[str]:
    """Completions of `--preset`."""
    from shared.config.presets import preset_names

    return [name for name in preset_names() if name.startswith(incomplete)]


def sources(incomplete: str) -> list[str]:
    """Completions of `--data`: known names; a path is completed by the shell where none fits."""
    from shared.data.names import NAMES

    return [name for name in NAMES if name.startswith(incomplete)]


def choices(*accepted: str) -> Callable[[str], list[str]]:
    """Completions of an option that takes one of these, or several with commas."""

    def completions(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [before + comma + each for each in accepted if each.startswith(last)]

    return completions


def words(flag: str, text: str) -> list[str]:
    """The words, each once; `none` alone stands for none.

    Raises
    ------
    ConfigError
        Naming the flag, for anything else.
    """
    found = [part.strip() for part in text.split(",")]
    if found == ["none"]:
        return []
    if "none" in found:
        raise ConfigError(f"{flag} {text}: none stands alone; leave it out, or the others")
    if not all(found):
        raise ConfigError(f"{flag} {text or _EMPTY}: expected names with commas, or none for none")
    if len(set(found)) < len(found):
        raise ConfigError(f"{flag} {text}: the same name twice")
    return found


def numbers(
    flag: str, text: str, kind: type[int] | type[float], example: str | None = None
) -> list[int | float]:
    """The numbers, each once.

    Raises
    ------
    ConfigError
        Naming the flag, for anything else.
    """
    try:
        found = [kind(part) for part in text.split(",")]
    except ValueError:
        example = example or ("1,2,8,inf" if kind is float else "0,1,2")
        raise ConfigError(
            f"{flag} {text or _EMPTY}: expected numbers with commas, such as {example}"
        ) from None
    if any(isinstance(number, float) and math.isnan(number) for number in found):
        raise ConfigError(f"{flag} {text}: nan is not a number")
    if len(set(found)) < len(found):
        raise ConfigError(f"{flag} {text}: the same number twice")
    return list(found)


def deltas(text: str) -> list[float]:
    """Of a guarantee, each in [1e-14, 1), the largest first."""
    from shared.privacy.accounting.accountant import LEAST_DELTA

    given = numbers("--deltas", text, float, "1e-4,1e-6")
    found = sorted((float(value) for value in given), reverse=True)
    wrong = next((value for value in found if not LEAST_DELTA <= value < 1), None)
    if wrong is not None:
        raise ConfigError(
            f"--deltas {text}: {wrong:g}: expected numbers from {LEAST_DELTA:g} up, below 1, such "
            "as 1e-5"
        )
    return found
