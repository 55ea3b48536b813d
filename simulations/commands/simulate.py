"""`starling simulate`: flags over settings; heavy imports wait until they were read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast, get_args

import typer

from shared.canonical import document, read_json
from shared.errors import ConfigError
from shared.printable import shell_word
from shared.run_files import RunFolder
from simulations.api.options import Options, options, settings
from simulations.commands.options import numbers, takes, words
from simulations.commands.options.flags import flag

_LISTS: dict[str, Callable[[str], Any]] = {
    "epsilon": lambda text: numbers("--epsilon", text, float),
    "seeds": lambda text: numbers("--seeds", text, int),
    "references": lambda text: words("--references", text),
    "track": lambda text: words("--track", text),
}


def _typed(name: str, kind: Any) -> type:
    """As a flag is typed: a list is one word, with commas, and a path a path."""
    if name in _LISTS:
        return str
    return Path if name in ("config", "out", "resume") else next(iter(get_args(kind)), kind)


_FLAGS = [
    (name, _typed(name, kind), settings().get(name, ""), option.text)
    for name, (kind, option) in options().items()
]
_FLAGS += [
    ("online", bool, "", "People who answer what they are shown, day by day (exploration.md)."),
    ("days", int, "", "With --online: how many. Default: 30."),
    (
        "policies",
        str,
        "",
        "With --online: exploration policies, such as greedy,thompson=0.5,linucb.",
    ),
    ("json", bool, "", "One JSON document, in place of the table."),
]
_Flags = dataclasses.make_dataclass("_Flags", [flag(*row) for row in _FLAGS])


@takes(_Flags, settings())
def simulate(given: Any) -> None:
    """Draw accuracy against privacy budget over virtual clients."""
    asked = {name: getattr(given, name) for name in options()}
    for name, parsed in _LISTS.items():
        asked[name] = None if asked[name] is None else parsed(asked[name])
    online = {"days": given.days, "policies": given.policies}
    if given.online:
        from simulations.commands.online import simulate_online

        simulate_online(asked, online, as_json=given.json)
        return
    for name, value in online.items():
        if value is not None:
            raise ConfigError(f"--{name}: goes with --online; give that too, or leave this out")
    from simulations.api.experiment import run_experiment
    from simulations.console import Console

    run = run_experiment(cast("Options", asked), Console(stderr=True), _command)
    from simulations.report.outcome import print_outcome
    from simulations.table import rows

    if given.json:
        stated = read_json(RunFolder(run.folder).results.read_bytes())
        page = {"folder": str(run.folder), "results": stated, "points": rows(run.results)}
        typer.echo(document(page))
    else:
        print_outcome(run.results, run.folder)


def _command(folder: Path) -> str:
    return f"starling simulate --resume {shell_word(folder)}"
