"""The page of settings, written from the settings themselves so that it cannot go stale.

Names, defaults and ranges come from the dataclasses of `shared.config`; the meaning of a setting
is the comment beside it, or in the lines above. Rewrite the page with
`python -m shared.config.docs docs/configuration.md`.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from shared.config import sections as config
from shared.config.rounds import FEWEST, MOST, PASSES, TRAINED
from shared.config.rounds import PRIVATE as FEW
from shared.errors import ConfigError

INTRODUCTION = """\
# Settings

Written from `shared/config/sections.py`, not by hand: `python -m shared.config.docs
docs/configuration.md`.

An experiment is one TOML file, given with `--config`, or a preset, given with `--preset`. Options
on the command line replace what the file says. A setting that is not listed here is an error, and
so is a value outside its range. Infinity is written `inf`.

What enters the privacy accounting: `[privacy]`, the rounds, the expected cohort, and whether the
item bias starts from a popularity histogram. Nothing in `[engine]` can change a guarantee.
"""

PRIVATE = """\
## `[private.model]`, `[private.train]`, `[private.federation]`

Settings that replace those of the section wherever noise is added (a finite epsilon): a noised
model is served best by fewer trained dimensions. Names and ranges are those of the section.
"""

ROUNDS = f"""\
## Rounds that follow from people and budget

`federation.rounds = "auto"`, which the preset `default` has; `--rounds N` wins. How many people
there are is filled in (`data.people`) when a run starts.

| budget | rounds |
|---|---|
| none (`inf`) | as many as let each person take part {PASSES:g} times, from {FEWEST} to {MOST} |
| epsilon x people below {TRAINED:,.0f} | 0: what is released once is the whole model |
| from there on | {FEW} |

Divided by `privacy.group_size` where that is more than one. Where nothing is released once (unit
`example` or `both`, trust `local`, no histogram), or something is asked for that only rounds have
(`mechanism = "dp_ftrl"`, `adaptive_clipping`, `metrics_every`), a budget always has {FEW}. At
epsilon 8 and 943 people {FEW} rounds brought nothing that can be told from none
([results](results.md)).
"""


def configuration_page() -> str:
    """The text of `docs/configuration.md`."""
    parts = [_section(name, kind) for name, kind in sections()]
    top = [_row(config.ExperimentConfig, "top", "seed")]
    return "\n".join(
        [INTRODUCTION, *parts, PRIVATE, ROUNDS, "## Outside any section\n", _table(top)]
    )


def sections() -> Iterator[tuple[str, type]]:
    """Name and dataclass of each section, in order."""
    for field in dataclasses.fields(config.ExperimentConfig):
        if dataclasses.is_dataclass(field.default):
            yield field.name, type(field.default)


def comments(kind: type) -> dict[str, str]:
    """The comment of each field of a dataclass: beside it, or in the lines directly above."""
    found: dict[str, str] = {}
    above: list[str] = []
    for line in inspect.cleandoc(inspect.getsource(kind)).splitlines():
        if note := re.fullmatch(r" +# (.*)", line):
            above.append(note[1])
            continue
        if field := re.match(r"    (\w+): .*?(?:  # (.*))?$", line):
            found[field[1]] = field[2] or " ".join(above)
        above = []
    return {name: text for name, text in found.items() if text}


def _section(name: str, kind: type) -> str:
    rows = [_row(kind, name, field.name) for field in dataclasses.fields(kind)]
    summary = (inspect.getdoc(kind) or "").splitlines()[0]
    return f"## `[{name}]`\n\n{summary}\n\n{_table(rows)}"


def _row(kind: type, section: str, field: str) -> tuple[str, str, str, str]:
    fields = {f.name: f for f in dataclasses.fields(kind)}
    schema = TypeAdapter(kind).json_schema()["properties"][field]
    meaning = comments(kind).get(field)
    if meaning is None:
        raise ConfigError(
            f"{section}.{field}: nothing says what it means; write a comment beside it in "
            "shared/config/sections.py"
        )
    return f"`{field}`", _value(fields[field].default), accepted(schema), meaning


def _table(rows: list[tuple[str, str, str, str]]) -> str:
    head = ("Setting", "Default", "Accepted", "Meaning")
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in [head, *rows]]
    lines = [f"| {' | '.join(row)} |" for row in escaped]
    lines.insert(1, "|---|---|---|---|")
    return "\n".join(lines) + "\n"


def accepted(schema: dict[str, Any]) -> str:
    """A JSON schema in words: `integer, at least 1, or unset`."""
    if "anyOf" in schema:
        known = [accepted(part) for part in schema["anyOf"] if part.get("type") != "null"]
        unset = ", or unset" * any(part.get("type") == "null" for part in schema["anyOf"])
        return f"{' or '.join(known)}{unset}"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] == "array":
        return f"list of: {accepted(schema['items'])}"
    if schema["type"] == "boolean":
        return "`true`, `false`"
    bounds = {
        "exclusiveMinimum": "above {}",
        "minimum": "at least {}",
        "exclusiveMaximum": "below {}",
        "maximum": "at most {}",
    }
    words = ["text" if schema["type"] == "string" else schema["type"]]
    words += [text.format(schema[key]) for key, text in bounds.items() if key in schema]
    return ", ".join(words)


def _value(default: Any) -> str:
    """A default as it would stand in TOML."""
    return "unset" if default is None else f"`{json.dumps(default).replace('Infinity', 'inf')}`"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(configuration_page(), encoding="utf-8")
