"""What there is to know about a population before a run: sizes, lengths, skew, what was dropped."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from shared.config import WorldConfig
from shared.data.population import Population
from shared.data.protocol import Protocol
from shared.data.split import is_evaluated, training_history
from shared.metrics import gini
from simulations.world.people import YEAR
from simulations.world.world import World

if TYPE_CHECKING:
    from shared.data.log import InteractionLog


@dataclass(frozen=True)
class WorldSummary:
    """A deep world in numbers.

    Attributes
    ----------
    items_arriving : int
        Items that were not there from the start.
    scenario_shares : tuple of float
        Of the interactions, by scenario; sums to 1 unless nobody did anything.
    slates : int or None
        How many were shown; None where people choose freely.
    clicked, click_probability : tuple of float
        By place: the share that was clicked, and the mean of the known chances. Empty without
        slates.
    least_propensity : float or None
        The smallest logged: its inverse bounds an importance weight.
    """

    items_arriving: int
    scenario_shares: tuple[float, ...]
    slates: int | None
    clicked: tuple[float, ...]
    click_probability: tuple[float, ...]
    least_propensity: float | None


@dataclass(frozen=True)
class Summary:
    """One population in numbers.

    Attributes
    ----------
    name : str
    users, items, interactions : int
    users_evaluated : int
        Users who are asked about a held-out item; the others only train.
    protocol : Protocol
        Who they are, and among how many negatives.
    users_without_interactions : int
    items_never_met : int
    density : float
        Interactions / (users x items), in [0, 1].
    length_min, length_median, length_mean, length_max : float
        Interactions per user.
    top_tenth_share : float
        Share of all interactions that go to the most popular tenth of the items, in [0, 1].
    gini : float
        Of interactions over items: 0 if all are equally popular, near 1 if one takes all.
    duplicates_dropped : int or None
        Rows in which a user met an item again; None unless this is a whole log.
    first_timestamp, last_timestamp : int, float, str or None
        In the log's own unit, dates in seconds since 1970, exactly: text where no float is exact.
        None unless this is a whole log or the world, whose year it is.
    equal_times : int or None
        Interactions that share their user's time with another one: the order of the rows decides
        which was first. None unless this is a whole log.
    test_targets_by_row : int or None
        Users whose test target is decided so. None unless this is a whole log.
    ids_normalised : int or None
        Spellings of identifiers that were taken in another form. None unless this is a whole log.
    ids_alike : int or None
        Users and items whose identifiers differ from another's by case or leading zeros only; they
        are kept apart. None unless this is a whole log.
    test_targets_unseen : int
        Users whose test target is in nobody's training history: only its text tells of it.
    world : WorldSummary or None
        What happens in a synthetic world, where its settings let more happen than free choice.
    items_without_text : int
        Items whose text says nothing of them, see `Catalogue.described`.
    texts : tuple of str
        A few item texts, spread over the catalogue.
    """

    name: str
    users: int
    items: int
    interactions: int
    users_evaluated: int
    protocol: Protocol
    users_without_interactions: int
    items_never_met: int
    density: float
    length_min: float
    length_median: float
    length_mean: float
    length_max: float
    top_tenth_share: float
    gini: float
    duplicates_dropped: int | None
    first_timestamp: int | float | str | None
    last_timestamp: int | float | str | None
    equal_times: int | None
    test_targets_by_row: int | None
    ids_normalised: int | None
    ids_alike: int | None
    test_targets_unseen: int
    world: WorldSummary | None
    items_without_text: int
    texts: tuple[str, ...]


def summarise(population: Population, texts: int = 5, negatives: int = 99) -> Summary:
    """Go through all histories once.

    Parameters
    ----------
    population : Population
    texts : int
        How many item texts to show, >= 1.
    negatives : int
        How many an evaluation asks for, >= 10.
    """
    items = len(population.catalogue)
    lengths = np.empty(len(population), dtype=np.int64)
    popularity = np.zeros(items, dtype=np.int64)
    trained, targets = np.zeros(items, dtype=bool), np.zeros(items, dtype=np.int64)
    for user in range(len(population)):
        history = population.history(user)
        lengths[user] = len(history)
        popularity[history] += 1  # a history never holds an item twice
        trained[training_history(history)] = True
        if is_evaluated(len(history), items):
            targets[history[-1]] += 1
    log = None if isinstance(population, World) else _whole_log(population)
    deep = None
    if isinstance(population, World) and population.settings != WorldConfig():
        deep = summarise_world(population)
    year = (Decimal(0), Decimal(YEAR)) if isinstance(population, World) else None
    span = log.span if log else year
    protocol = Protocol.of(lengths.tolist(), items, negatives)
    shown = np.linspace(0, items - 1, min(texts, items)).astype(int)
    return Summary(
        name=population.name,
        users=len(population),
        items=items,
        interactions=int(lengths.sum()),
        users_evaluated=protocol.evaluated,
        protocol=protocol,
        users_without_interactions=int((lengths == 0).sum()),
        items_never_met=int((popularity == 0).sum()),
        density=float(lengths.sum() / (len(lengths) * items)),
        length_min=float(lengths.min()),
        length_median=float(np.median(lengths)),
        length_mean=float(lengths.mean()),
        length_max=float(lengths.max()),
        top_tenth_share=_top_share(popularity, max(1, items // 10)),
        gini=gini(popularity),
        duplicates_dropped=None if log is None else log.dropped,
        first_timestamp=_exactly(span[0]) if span else None,
        last_timestamp=_exactly(span[1]) if span else None,
        equal_times=log.ties.interactions if log else None,
        test_targets_by_row=log.ties.test_targets if log else None,
        ids_normalised=log.reading.normalised if log else None,
        ids_alike=log.alike if log else None,
        test_targets_unseen=int(targets[~trained].sum()),
        world=deep,
        items_without_text=population.catalogue.described.count(""),
        texts=tuple(population.catalogue.texts[index] for index in shown),
    )


def _exactly(time: Decimal) -> int | float | str:
    """As JSON holds it without loss."""
    if time == time.to_integral_value():
        return int(time)
    return float(time) if Decimal(repr(float(time))) == time else format(time, "f")


def _whole_log(population: Population) -> InteractionLog | None:
    """A log, of which no people were chosen."""
    from shared.data.log import InteractionLog

    return population if isinstance(population, InteractionLog) else None


def _top_share(popularity: np.ndarray, top: int) -> float:
    total = popularity.sum()
    return float(np.sort(popularity)[-top:].sum() / total) if total else 0.0


def summarise_world(world: World) -> WorldSummary:
    """Go through everybody once."""
    size = world.settings.slate
    scenarios = np.zeros(world.settings.scenarios)
    slates, least = 0, 1.0
    clicked, chances = np.zeros(size), np.zeros(size)
    for user in range(len(world)):
        if size:
            shown = world.slates(user)
            slates += len(shown.items)
            clicked += shown.clicks.sum(0)
            chances += shown.click_probabilities.sum(0)
            least = min(least, float(shown.propensities.min()))
        met = shown.interactions if size else world.interactions_of(user)
        scenarios += np.bincount(met.scenarios, minlength=len(scenarios))
    return WorldSummary(
        items_arriving=int((world.arrivals > 0).sum()),
        scenario_shares=tuple((scenarios / max(scenarios.sum(), 1)).tolist()),
        slates=slates if size else None,
        clicked=tuple((clicked / max(slates, 1)).tolist()),
        click_probability=tuple((chances / max(slates, 1)).tolist()),
        least_propensity=least if size else None,
    )
