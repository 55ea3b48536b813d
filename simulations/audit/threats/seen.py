"""Who sees what of a run, how far each canary seems to be in to them, and what is claimed of that.

A view is one threat model. Where none applies, it says why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from dp_accounting import (
    DpEvent,
    PoissonSampledDpEvent,
    SampledWithoutReplacementDpEvent,
    SelfComposedDpEvent,
)

from shared.errors import ConfigError
from shared.privacy.accounting.accountant import epsilon
from shared.privacy.contribution.units import examples_per_user
from shared.privacy.guarantee import Guarantee
from shared.privacy.plan.plan import Plan
from simulations.audit.canaries import Canaries
from simulations.audit.canaries.drawn import by_window
from simulations.audit.replay.observed import (
    TRAINING,
    Events,
    Exchange,
    Observed,
    Release,
    Sums,
    Vector,
)
from simulations.audit.threats.tally import Tally

ALL_ROUNDS = "white box: every released sum of every round"
OPENED = "white box: every opened sum of every round, and no message alone"
MESSAGES = "the server: every message of every device"
FINAL = "white box: the released adapter and the public start alone"
BLACK_BOX = "black box: scores of the released model alone, and of the public start"
_STATISTIC = "white box: the released {} alone"

_ONCE = ("histogram", "moments")
_SUMS = (*_ONCE, "update", TRAINING)  # in which canaries are

Claim = tuple[Guarantee, Events]


@dataclass(frozen=True, eq=False)
class View:
    """One threat model of one replay.

    Attributes
    ----------
    name : str
        Who sees what.
    scores : float64 [m]
        How far each canary seems to be in; larger where rather in.
    included : bool [m]
    promised : Guarantee
        Whose budget is what is claimed of what this view sees.
    events : sequence of (DpEvent, int)
        What the plan says that happened: what the claim follows from.
    """

    name: str
    scores: Vector
    included: np.typing.NDArray[np.bool_]
    promised: Guarantee
    events: Events

    @property
    def sampled(self) -> bool:
        """Whether who is asked is drawn: then no Gaussian is what happened."""
        return any(_is_sampled(event) for event, _ in self.events)

    def claimed(self, delta: float) -> float:
        """Epsilon that is claimed at a delta: at the promise's own the budget.

        At any other it is what the plan's events cost, if the accountant counts them; else no
        claim is made, and it is infinite.
        """
        if delta >= self.promised.delta:
            return self.promised.budget
        if not self.events:
            return math.inf
        return _cost(self.events, self.promised, delta)


@dataclass(frozen=True)
class Blind:
    """A threat model that does not apply, and why.

    Attributes
    ----------
    name, why : str
    """

    name: str
    why: str


def views(observed: Sums) -> list[View | Blind]:
    """Every threat model of a run, those that see more first."""
    canaries = observed.canaries
    plan = (observed.plan or observed.device) if isinstance(observed, Observed) else None
    promised = plan.guarantee if plan else observed.promised
    if canaries is None or promised is None:
        why = "There is no canary" if canaries is None else "Nothing is promised"
        return [Blind(ALL_ROUNDS, why)]
    claim = promised, observed.events
    if not isinstance(observed, Observed) or plan is None:
        final = [_final(observed, canaries, claim)] if len(observed.moved) else []
        return [_white_box(observed, canaries, claim), *final]
    return [
        _white_box(observed, canaries, claim)
        if observed.plan
        else _messages(observed, canaries, plan),
        *(_statistic(observed, canaries, plan, of) for of in _ONCE if plan.of(of)),
        _final(observed, canaries, claim),
        _black_box(observed, canaries, claim),
    ]


def _view(name: str, scores: Vector, canaries: Canaries, claim: Claim) -> View:
    return View(name, scores, canaries.included, *claim)


def _white_box(observed: Sums, canaries: Canaries, claim: Claim) -> View | Blind:
    name = OPENED if claim[0].trust == "distributed" else ALL_ROUNDS
    tally = Tally(len(canaries.keys))
    for release in observed.releases:
        _add(tally, observed, release, canaries)
    if tally.about.sum() < 2:
        return Blind(name, "No canary is in a sum that was released")
    return View(name, tally.scores()[tally.about], canaries.included[tally.about], *claim)


def _add(tally: Tally, observed: Sums, release: Release, canaries: Canaries) -> None:
    """Add what a released sum says, if it is one that canaries are in."""
    exchange, deviation = release.exchange, release.deviation or 1.0
    together = exchange.kind == "update" and observed.of(TRAINING)  # with noise of one round's own
    if exchange.kind not in _SUMS or together:
        return
    vector = release.vector - _of_others(exchange, canaries)
    if release.reach is not None:
        if not canaries.natural:
            tally.alone(vector[canaries.coordinates], release.reach, deviation)
        return
    share, units = observed.expected(exchange.kind) / observed.users, 1
    if isinstance(observed, Observed) and by_window(observed.config):
        units = examples_per_user(observed.config)
        share *= observed.config.privacy.example_sampling if exchange.kind == "update" else 1
    if exchange.directions.size:
        tally.along(exchange.directions.astype(np.float64), vector, deviation, share)
    elif exchange.kind == "update":
        size = release.limit / units if math.isfinite(release.limit) else 1.0
        tally.alone(vector[canaries.coordinates], size, deviation, share)


def _of_others(exchange: Exchange, canaries: Canaries) -> Vector | float:
    """What is known that all who are no canaries added [dim]."""
    if not exchange.known or not len(exchange.members):
        return 0.0
    others = ~np.isin(exchange.members, canaries.keys)
    found: Vector = exchange.contributions[others].astype(np.float64).sum(0)
    return found


def _messages(observed: Observed, canaries: Canaries, plan: Plan) -> View | Blind:
    """Of each device's own noised messages, under local trust."""
    planned, config = plan.of("update"), observed.config
    exchanges = [each for each in observed.exchanges if each.kind == "update"]
    if planned is None or not exchanges or not by_window(config):
        return Blind(MESSAGES, "No canary is in a message with noise of its own")
    mechanism, share = planned.mechanism, config.privacy.example_sampling
    clip, deviation = mechanism.clip.norm, mechanism.noise_multiplier * mechanism.clip.norm
    deviation *= math.sqrt(config.train.local_steps)
    keys, tally = np.array(canaries.keys), Tally(len(canaries.keys))
    for each in exchanges:
        own = np.full(len(keys), clip / 2)  # which says nothing
        for member, row in zip(each.members, each.contributions.astype(np.float64), strict=True):
            mine = keys == member
            own[mine] = row[canaries.coordinates[mine]]
            if each.directions.size and mine.any():
                tally.along(mine[:, None] * each.directions, row, deviation or 1.0, share)
        if not each.directions.size:
            tally.alone(own, clip, deviation or 1.0, share)
    return _view(MESSAGES, tally.scores(), canaries, (plan.guarantee, observed.events))


def _statistic(observed: Observed, canaries: Canaries, plan: Plan, kind: str) -> View | Blind:
    """One of the statistics that are asked for once: what it costs by itself is the claim."""
    planned, name = plan.planned(kind), _STATISTIC.format(kind)
    if observed.plan is None:
        return Blind(name, "Every device noises its own share: their sum is not a mechanism's")
    releases = observed.of(kind)
    tally = Tally(len(canaries.keys))
    for release in releases:
        _add(tally, observed, release, canaries)
    there = tally.about
    if there.sum() < 2:
        return Blind(name, "It was not released, or no canary is in it")
    events = [(planned.event, planned.times)]
    own = min(plan.guarantee.budget, _cost(events, plan.guarantee, plan.guarantee.delta))
    promised = replace(plan.guarantee, budget=own)
    return View(name, tally.scores()[there], canaries.included[there], promised, events)


def _final(observed: Sums, canaries: Canaries, claim: Claim) -> View | Blind:
    rows = np.zeros((0, 0))
    if isinstance(observed, Observed):
        updates = [each for each in observed.exchanges if each.kind == "update"]
        if not updates or not observed.moved.any():
            return Blind(FINAL, "Nothing is trained: the adapter is the statistics' alone")
        rows = updates[0].directions.astype(np.float64)
    if not rows.size:
        return _view(FINAL, observed.moved[canaries.coordinates], canaries, claim)
    length = np.maximum(np.linalg.norm(rows, axis=1), 1e-30)
    return _view(FINAL, rows @ observed.moved / length, canaries, claim)


def _black_box(observed: Observed, canaries: Canaries, claim: Claim) -> View | Blind:
    if observed.liked is None or not canaries.natural:
        return Blind(BLACK_BOX, "Canaries of the worst kind have no sequence to be liked")
    return _view(BLACK_BOX, observed.liked, canaries, claim)


def _cost(events: Events, promised: Guarantee, delta: float) -> float:
    """Epsilon of what happened, by the product's own accountant."""
    try:
        return epsilon(list(events), delta, promised.relation, promised.group)
    except (ConfigError, ValueError):
        return math.inf


def _is_sampled(event: DpEvent) -> bool:
    inner = event.event if isinstance(event, SelfComposedDpEvent) else event
    return isinstance(inner, PoissonSampledDpEvent | SampledWithoutReplacementDpEvent)
