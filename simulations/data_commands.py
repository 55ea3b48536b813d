"""`starling data`: which data sets there are, what is in one, and getting or making one."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from shared.data.schema import write_log
from shared.data.sources import KnownSource, fetch, known_sources
from simulations.data_summary import Summary, summarise
from simulations.sources import WORLD, WORLD_USERS, open_population
from simulations.world import World

data = typer.Typer(no_args_is_help=True, help="List, inspect, fetch and make interaction logs.")

_AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]


@data.command("ls")
def list_sources(as_json: _AsJson = False) -> None:
    """Known names, and where each was found."""
    sources = known_sources()
    if as_json:
        rows = [{"name": WORLD, "folder": None, "status": "built in"}]
        rows += [
            {
                "name": source.name,
                "folder": str(source.folder) if source.folder else None,
                "status": _status(source),
            }
            for source in sources
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    _show(("name", "where"), [(WORLD, "built in"), *((s.name, _status(s)) for s in sources)])


def _status(source: KnownSource) -> str:
    if source.folder is not None:
        return str(source.folder)
    if source.fetchable:
        return f"absent: starling data fetch {source.name}"
    return "absent: set STARLING_DATA to the folder that holds it"


@data.command()
def inspect(
    spec: Annotated[str, typer.Argument(help="world, a known name, or a path.")],
    users: Annotated[int | None, typer.Option(min=1, help="Only the first N users.")] = None,
    world_seed: Annotated[int, typer.Option(min=0, help="Of the synthetic world.")] = 0,
    as_json: _AsJson = False,
) -> None:
    """Counts, lengths, sparsity, popularity skew, what was dropped, a few item texts."""
    summary = summarise(open_population(spec, users, world_seed))
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(summary), indent=2))
        return
    _show(("of", "value"), _readable(summary))


def _readable(summary: Summary) -> list[tuple[str, str]]:
    lengths = (summary.length_min, summary.length_median, summary.length_max)
    rows = [
        ("name", summary.name),
        ("users", f"{summary.users:,}"),
        ("evaluated", f"{summary.users_evaluated:,} (with 3 interactions or more)"),
        ("without interactions", f"{summary.users_without_interactions:,}"),
        ("items", f"{summary.items:,} ({summary.items_never_met:,} never met)"),
        ("interactions", f"{summary.interactions:,}"),
        ("density", f"{summary.density:.2%}"),
        (
            "per user",
            "least {:.0f}, median {:g}, most {:.0f}".format(*lengths)
            + f", mean {summary.length_mean:.1f}",
        ),
        ("popularity", f"top tenth {summary.top_tenth_share:.1%}, Gini {summary.gini:.2f}"),
        ("repeats dropped", _dropped(summary.duplicates_dropped)),
        ("time", _span(summary)),
        ("digest", summary.digest),
    ]
    return rows + [("item text", text) for text in summary.texts]


def _dropped(count: int | None) -> str:
    return "counted for whole logs only" if count is None else f"{count:,}"


def _span(summary: Summary) -> str:
    first, last = summary.first_timestamp, summary.last_timestamp
    if first is None or last is None:
        return "no times, order only"
    if first > 1e8 and last < 1e10:  # 1973 to 2286: seconds since 1970, as good as certain
        day = (datetime.fromtimestamp(time, tz=UTC).date().isoformat() for time in (first, last))
        return " to ".join(day)
    return f"{first:.15g} to {last:.15g}"


@data.command("fetch")
def fetch_command(name: Annotated[str, typer.Argument(help="A known name.")]) -> None:
    """Download a known data set from its publisher, verify its checksum, unpack it."""
    typer.echo(str(fetch(name)))


@data.command()
def world(
    out: Annotated[Path, typer.Option(help="Folder for interactions.csv and items.csv.")],
    users: Annotated[int, typer.Option(min=1)] = WORLD_USERS,
    items: Annotated[int, typer.Option(min=20)] = 300,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Write a synthetic world in the documented columns."""
    typer.echo(str(write_log(World(users, items, seed), out)))


def _show(header: tuple[str, str], rows: list[tuple[str, str]]) -> None:
    """A table on a terminal; elsewhere one `name: value` line per row, never wrapped."""
    console = Console()
    if not console.is_terminal:
        for name, value in rows:
            typer.echo(f"{name}: {value}")
        return
    table = Table(*header)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)
