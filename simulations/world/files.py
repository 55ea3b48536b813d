"""A synthetic world as files: the documented columns of a log, and what was shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from shared.data.readers.tables import write_csv
from shared.errors import DataError
from simulations.world.people import SCENARIOS
from simulations.world.world import World

_INTERACTIONS = ("user", "item", "timestamp", "scenario", "position")
_ITEMS = ("item", "text", "arrival")
_SLATES = (
    *("user", "slate", "timestamp", "scenario", "position", "item"),
    *("propensity", "click_probability", "click"),
)
Rows = Iterator[tuple[object, ...]]


def write_world(world: World, folder: Path) -> Path:
    """Write `interactions.csv`, `items.csv` and, where slates are shown, `slates.csv`.

    `shared.data.readers.columns.read_log` gives equal histories; a user without interactions has
    no row, and so is not read back. Users are generated and written one after the other.

    Raises
    ------
    DataError
        If one of the files is there already, or cannot be written.
    """
    tables = {
        "interactions.csv": (_INTERACTIONS, _interactions(world)),
        "items.csv": (_ITEMS, _items(world)),
    }
    if world.settings.slate:
        tables["slates.csv"] = (_SLATES, _slates(world))
    for name in tables:
        if (folder / name).exists():
            raise DataError(f"{folder / name}: exists already; choose another folder or remove it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, (header, rows) in tables.items():
            write_csv(folder / name, header, rows)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror})") from None
    return folder


def _interactions(world: World) -> Rows:
    item_ids = world.catalogue.item_ids
    for user in range(len(world)):
        met = world.interactions_of(user)
        columns = (met.items, met.times, met.scenarios, met.positions)
        for item, time, scenario, position in zip(*(c.tolist() for c in columns), strict=True):
            yield world.user_id(user), item_ids[item], time, SCENARIOS[scenario], position


def _items(world: World) -> Rows:
    catalogue = world.catalogue
    yield from zip(catalogue.item_ids, catalogue.texts, world.arrivals.tolist(), strict=True)


def _slates(world: World) -> Rows:
    item_ids = world.catalogue.item_ids
    for user in range(len(world)):
        shown = world.slates(user)
        cells = (shown.items, shown.propensities, shown.click_probabilities, shown.clicks)
        for slate, rows in enumerate(zip(*(cell.tolist() for cell in cells), strict=True)):
            when = world.user_id(user), slate, int(shown.times[slate])
            scenario = SCENARIOS[int(shown.scenarios[slate])]
            for position, (item, propensity, chance, click) in enumerate(zip(*rows, strict=True)):
                yield *when, scenario, position, item_ids[item], propensity, chance, int(click)
