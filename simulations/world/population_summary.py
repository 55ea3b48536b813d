"""What there is to know about a population before a run: sizes, lengths, skew, what was dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shared.config import WorldConfig
from shared.data.population import Population
from shared.data.split import MIN_EVALUATED, training_history
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
        Users with at least three interactions; the others only train.
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
    first_timestamp, last_timestamp : float or None
        In the log's own unit; None unless this is a whole log or the world, whose year it is.
    test_targets_unseen : int
        Users whose test target is in nobody's training history: only its text tells of it.
    world : WorldSummary or None
        What happens in a synthetic world, where its settings let more happen than free choice.
    texts : tuple of str
        A few item texts, spread over the catalogue.
    """

    name: str
    users: int
    items: int
    interactions: int
    users_evaluated: int
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
    first_timestamp: float | None
    last_timestamp: float | None
    test_targets_unseen: int
    world: WorldSummary | None
    texts: tuple[str, ...]


def summarise(population: Population, texts: int = 5) -> Summary:
    """Go through all histories once; `texts` is how many item texts to show, >= 1."""
    items = len(population.catalogue)
    lengths = np.empty(len(population), dtype=np.int64)
    popularity = np.zeros(items, dtype=np.int64)
    trained, targets = np.zeros(items, dtype=bool), np.zeros(items, dtype=np.int64)
    for user in range(len(population)):
        history = population.history(user)
        lengths[user] = len(history)
        popularity[history] += 1  # a history never holds an item twice
        trained[training_history(history)] = True
        if len(history) >= MIN_EVALUATED:
            targets[history[-1]] += 1
    log = None if isinstance(population, World) else _whole_log(population)
    deep = None
    if isinstance(population, World) and population.settings != WorldConfig():
        deep = summarise_world(population)
    span = (0.0, float(YEAR)) if isinstance(population, World) else log.span if log else None
    shown = np.linspace(0, items - 1, min(texts, items)).astype(int)
    return Summary(
        name=population.name,
        users=len(population),
        items=items,
        interactions=int(lengths.sum()),
        users_evaluated=int((lengths >= MIN_EVALUATED).sum()),
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
        first_timestamp=span[0] if span else None,
        last_timestamp=span[1] if span else None,
        test_targets_unseen=int(targets[~trained].sum()),
        world=deep,
        texts=tuple(population.catalogue.texts[index] for index in shown),
    )


def _whole_log(population: Population) -> InteractionLog | None:
    """A log, of which no people were chosen."""
    from shared.data.log import InteractionLog  # pandas enters here: the world does without

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
