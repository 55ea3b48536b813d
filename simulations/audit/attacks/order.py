"""In which order somebody met items that are known, found by trying what would have been sent.

An attacker's own device sends the same as the person's where it trains on the same history from the
same adapter: the search goes from order to order, to the one whose update is most like what was
sent. Whatever scales an update changes no likeness.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import kendalltau

from shared.config import ExperimentConfig
from shared.data.population import history_of
from shared.data.split import MIN_EVALUATED, training_history
from simulations.audit.attacks.halves import Made
from simulations.audit.attacks.intervals import Rate
from simulations.audit.attacks.updates import Updates, Vector, updates_of
from simulations.engine.cohort import CohortEngine

Items = npt.NDArray[np.int64]

_DRAWS = 0x6F726472  # a stream of randomness of its own


@dataclass(frozen=True)
class Order:
    """How much of the order of a person's items a search found, the items being known.

    Attributes
    ----------
    people : int
    tau : float
        Kendall's, mean over people: 1 where all of it, 0 by chance.
    start : float
        The same of where the search began.
    exact : Rate
        People whose order was found whole.
    """

    people: int
    tau: float
    start: float
    exact: Rate


def order_of(
    engine: CohortEngine,
    config: ExperimentConfig,
    adapter: Vector,
    sent: Vector,
    items: Items,
    seed: int = 0,
    steps: int = 20,
) -> Items:
    """The order of known items whose update is most like what was sent, by local search.

    Every step tries all exchanges of two items and all moves of one, and takes the best.

    Parameters
    ----------
    engine : CohortEngine
    config : ExperimentConfig
    adapter : float64 [dim]
        That was sent out.
    sent : float64 [trained]
        One person's update, scaled or with noise.
    items : int64 [n]
        In any order.
    seed : int
        Of the order that the search begins with.
    steps : int
        At most.

    Returns
    -------
    int64 [n]
    """
    now = np.random.default_rng((_DRAWS, seed)).permutation(items)
    likeness = -math.inf
    for _ in range(steps):
        tried = _neighbours(now)
        rows = _sent(engine, config, adapter, [each.tolist() for each in tried])
        like = rows @ sent / np.maximum(np.linalg.norm(rows, axis=1), 1e-30)
        place = int(np.argmax(like))
        if not like[place] > likeness * (1 + 1e-7):
            break
        now, likeness = tried[place], float(like[place])
    return now


def _neighbours(order: Items) -> list[Items]:
    found = [order]
    for one in range(len(order)):
        for other in range(len(order)):
            if other > one:
                swapped = order.copy()
                swapped[[one, other]] = swapped[[other, one]]
                found.append(swapped)
            if abs(other - one) > 1:
                found.append(np.insert(np.delete(order, one), other, order[one]))
    return found


def orders(
    engine: CohortEngine,
    config: ExperimentConfig,
    adapter: Vector,
    contributions: npt.NDArray[np.floating],
    keys: Sequence[int],
    seed: int = 0,
) -> Order:
    """How well the order is found of some people, each by their own update [people, dim]."""
    after, before, exact = list[float](), list[float](), 0
    for row, key in zip(contributions, keys, strict=True):
        true = training_history(history_of(engine.population, key))
        place = {int(item): number for number, item in enumerate(true)}
        for steps, into in ((0, before), (20, after)):
            guess = order_of(
                engine, config, adapter, row.astype(np.float64), np.sort(true), seed, steps
            )
            ranks = [place[int(item)] for item in guess]
            into.append(float(kendalltau(ranks, range(len(ranks))).statistic))
        exact += after[-1] > 1 - 1e-9
    return Order(
        len(keys), float(np.mean(after)), float(np.mean(before)), Rate.of(exact, len(keys))
    )


def _sent(
    engine: CohortEngine,
    config: ExperimentConfig,
    adapter: Vector,
    histories: Sequence[Sequence[int]],
    names: Sequence[str] = (),
) -> Updates:
    """Updates of people with made-up histories, all of which are trained on."""
    people = Made(engine.population.catalogue, [_with_held_out(mine) for mine in histories])
    own = CohortEngine(people, engine.recommender, config.engine)
    return updates_of(own, config, people.keys, adapter, names)


def _with_held_out(history: Sequence[int]) -> list[int]:
    """Two more items, where a device would hold two out."""
    return [*history] if len(history) < MIN_EVALUATED else [*history, history[0], history[0]]
