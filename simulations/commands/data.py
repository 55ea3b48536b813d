"""`starling data`: which data sets there are, what is in one, and getting or making one."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.canonical import document
from shared.printable import printable
from simulations.commands import options

if TYPE_CHECKING:
    from shared.config import DataConfig, ExperimentConfig
    from shared.data.protocol import Protocol
    from shared.data.sources import KnownSource
    from simulations.world.population_summary import Summary, WorldSummary

data = typer.Typer(no_args_is_help=True, help="List, inspect, fetch and make interaction logs.")

_Config = Annotated[Path | None, typer.Option(help="Settings, for the world: a TOML file.")]
_Preset = Annotated[
    str | None,
    typer.Option(help="Committed settings by name, for the world.", autocompletion=options.presets),
]
_AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]


@data.command("ls")
def list_sources(as_json: _AsJson = False) -> None:
    """Known names, and where each was found."""
    from shared.data.names import WORLD
    from shared.data.sources import known_sources
    from simulations.show import show_table

    rows = [(WORLD, None, "built in"), *((s.name, s.folder, _status(s)) for s in known_sources())]
    if as_json:
        listed = [
            {"name": name, "folder": str(folder) if folder else None, "status": status}
            for name, folder, status in rows
        ]
        typer.echo(document(listed))
        return
    show_table(("name", "where"), [(name, status) for name, _, status in rows], pairs=True)


def _status(source: KnownSource) -> str:
    if source.folder is not None:
        return str(source.folder)
    if source.fetchable:
        return f"absent: starling data fetch {source.name}"
    return "absent: set STARLING_DATA to the folder that holds it"


@dataclasses.dataclass(frozen=True)
class Inspected:
    """The options of `starling data inspect`."""

    spec: Annotated[
        str, typer.Argument(help="world, a known name, or a path.", autocompletion=options.sources)
    ]
    users: Annotated[int | None, typer.Option(min=1, help="Only N of the users.")] = None
    columns: Annotated[
        str | None, typer.Option(help="What its files call them: user=userId,item=movieId.")
    ] = None
    world_seed: Annotated[int | None, typer.Option(min=0, help="Of the synthetic world.")] = None
    config: _Config = None
    preset: _Preset = None
    as_json: _AsJson = False


@data.command("inspect")
@options.takes(Inspected)
def inspect(given: Inspected) -> None:
    """Counts, lengths, sparsity, popularity skew, what was dropped, a few item texts."""
    from simulations.show import show_table, waiting

    with waiting(f"reading {given.spec}"):
        summary = _summary(given)
    if given.as_json:
        typer.echo(document(dataclasses.asdict(summary)))
        return
    show_table(("of", "value"), _readable(summary), pairs=True)


def _summary(given: Inspected) -> Summary:
    from shared.config import DataConfig
    from shared.config.presets import chosen_settings
    from shared.data.names import WORLD
    from simulations.world.population_summary import summarise
    from simulations.world.sources import open_population

    settings = chosen_settings(given.config, given.preset)
    named = DataConfig(spec=given.spec, users=given.users, columns=given.columns)
    if given.spec == WORLD and given.columns is None:
        named = _of_world(settings, given.users, None, given.world_seed)
    population = open_population(named, settings.world)
    return summarise(population, negatives=settings.data.negatives)


def _of_world(
    settings: ExperimentConfig, users: int | None, items: int | None, seed: int | None
) -> DataConfig:
    """The settings' data section with what the command line says in its place."""
    from shared.data.names import WORLD

    given = {"users": users, "world_items": items, "world_seed": seed}
    chosen = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(settings.data, spec=WORLD, **chosen)  # type: ignore[arg-type]  # of one type by name


def _readable(summary: Summary) -> list[tuple[str, str]]:
    lengths = (summary.length_min, summary.length_median, summary.length_max)
    rows = [
        ("name", summary.name),
        ("users", f"{summary.users:,}"),
        ("evaluated", f"{summary.users_evaluated:,} ({_who(summary.protocol)})"),
        ("ranked", _ranked(summary.protocol)),
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
        ("test targets", f"{summary.test_targets_unseen:,} that nobody trains on"),
        ("time", _span(summary)),
        *_doubts(summary),
    ]
    if summary.world is not None:
        rows += _happening(summary.world)
    rows += [("note", text) for text in _notes(summary)]
    return rows + [("item text", text) for text in summary.texts]


def _who(found: Protocol) -> str:
    met_all = f"; {found.met_all:,} others met every item" if found.met_all else ""
    return f"with 3 interactions or more{met_all}"


def _ranked(found: Protocol) -> str:
    from shared.data.protocol import negatives_in_words

    return "nobody's" if not found.evaluated else negatives_in_words(found.stated())


def _notes(summary: Summary) -> list[str]:
    from shared.data.catalogue import TEXTLESS
    from shared.data.protocol import protocol_warnings

    texts = {"items": summary.items, TEXTLESS: summary.items_without_text}
    if nobody := summary.protocol.why_nobody:
        return [nobody, *protocol_warnings(texts)]
    return protocol_warnings(summary.protocol.stated() | texts)


def _happening(world: WorldSummary) -> list[tuple[str, str]]:
    from simulations.world.people import SCENARIOS

    shares = zip(SCENARIOS, world.scenario_shares, strict=False)
    rows = [
        ("arriving", f"{world.items_arriving:,} items in the course of the year"),
        ("scenarios", ", ".join(f"{name} {share:.1%}" for name, share in shares)),
    ]
    if world.slates is None:
        return [*rows, ("slates", "none: people choose freely")]
    rates = ", ".join(f"{rate:.1%}" for rate in world.clicked)
    known = ", ".join(f"{rate:.1%}" for rate in world.click_probability)
    return [
        *rows,
        ("slates", f"{world.slates:,} of {len(world.clicked)} items"),
        ("clicked, by place", rates),
        ("expected, by place", known),
        ("least propensity", f"{world.least_propensity:.2g}"),
    ]


def _dropped(count: int | None) -> str:
    return "counted for whole logs only" if count is None else f"{count:,}"


def _doubts(summary: Summary) -> list[tuple[str, str]]:
    """What the owner of a log may want to look at, where there is anything."""
    rows = []
    if summary.equal_times:
        told = f"{summary.equal_times:,} interactions share their user's time with another"
        decided = f"{summary.test_targets_by_row:,} test targets among them"
        rows.append(("equal times", f"{told}; the order of the rows decides, {decided}"))
    if summary.ids_normalised:
        told = f"{summary.ids_normalised:,} (Unicode NFC, no blanks around them)"
        rows.append(("ids normalised", told))
    if summary.ids_alike:
        told = (
            f"{summary.ids_alike:,} differ from another by case or leading zeros only; kept apart"
        )
        rows.append(("ids alike", told))
    return rows


def _span(summary: Summary) -> str:
    first, last = summary.first_timestamp, summary.last_timestamp
    if first is None or last is None:
        return "no times, order only"
    # 1973 to 2286: seconds since 1970, as good as certain
    if float(first) > 1e8 and float(last) < 1e10:
        times = (datetime.fromtimestamp(float(time), tz=UTC) for time in (first, last))
        return " to ".join(time.date().isoformat() for time in times)
    return f"{first} to {last}"


@data.command("fetch")
def fetch_command(
    name: Annotated[str, typer.Argument(help="A known name.", autocompletion=options.sources)],
    as_json: _AsJson = False,
) -> None:
    """Download a known data set from its publisher, verify its checksum, unpack it."""
    from shared.data.sources import fetch
    from simulations.show import waiting

    with waiting(f"fetching {name}"):
        folder = fetch(name)
    typer.echo(document({"name": name, "folder": str(folder)}) if as_json else printable(folder))


@data.command()
def world(
    out: Annotated[Path, typer.Option(help="Folder for interactions.csv, items.csv, slates.csv.")],
    users: Annotated[int | None, typer.Option(min=1)] = None,
    items: Annotated[int | None, typer.Option(min=20)] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    config: _Config = None,
    preset: _Preset = None,
    as_json: _AsJson = False,
) -> None:
    """Write a synthetic world in the documented columns."""
    from shared.config.presets import chosen_settings
    from simulations.world.files import write_world
    from simulations.world.sources import open_world

    settings = chosen_settings(config, preset)
    made = open_world(_of_world(settings, users, items, seed), settings.world)
    folder = write_world(made, out)
    typer.echo(
        document({"folder": str(folder), "users": len(made)}) if as_json else printable(folder)
    )
