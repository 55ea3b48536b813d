"""The record: whether the ledger says what was released, and what that costs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from dp_accounting import DpEvent, GaussianDpEvent, NeighboringRelation, PoissonSampledDpEvent
from dp_accounting.pld import PLDAccountant

from shared.privacy.accounting.events import SkellamDpEvent
from shared.privacy.guarantee import Guarantee
from simulations.audit.checks.risk import FILES, finding, not_shown
from simulations.audit.findings import Finding
from simulations.audit.replay.observed import TRAINING, Observed, Release, Sums

LEDGER, EPSILON, RAW = "ledger", "epsilon", "raw release"

_RELATIONS = {
    "zero_out": NeighboringRelation.REPLACE_SPECIAL,
    "replace_one": NeighboringRelation.REPLACE_ONE,
}
_NEAR = 0.005  # relative, of a budget: as far as two accountants may differ
_FINEST = 1e-5  # of that grid
_GRID = 1e-3  # of losses; and how far epsilon may lie above a budget that another grid kept
_EXACT = 1e-9  # relative


def ledger(observed: Observed) -> Finding:
    """Whether every release is on the ledger, once, in order, as what the plan claims it is."""
    if observed.ledger is None or observed.plan is None:
        return not_shown(LEDGER, "There is no server's ledger: devices keep their own")
    entries = [each for each in observed.ledger.entries if each.release != TRAINING]
    recorded = [(each.release, each.round) for each in entries]
    sums = [each.exchange for each in observed.releases if each.exchange.kind != TRAINING]
    released = [(each.kind, each.round) for each in sums]
    missing = [each for each in released if each not in recorded]
    other = [each for each in entries if each.event != observed.plan.planned(each.release).event]
    asked = [(each.kind, each.round) for each in observed.exchanges]
    figures = {"released": float(len(released)), "recorded": float(len(recorded))}
    words = ""
    if missing:
        words = f"{missing[0][0]} of round {missing[0][1]}: released, and not on the ledger"
    elif recorded != asked:
        words = "The ledger's entries are not what was asked for, once each and in that order"
    elif other:
        words = f"{other[0].release} of round {other[0].round}: recorded as another event"
    return finding(LEDGER, words, "Every release is on the ledger, once and in order", figures)


def epsilon(observed: Observed) -> Finding:
    """What the ledger's entries cost, counted anew from their events by `dp_accounting` alone."""
    if observed.ledger is None:
        return not_shown(EPSILON, "There is no server's ledger", FILES)
    promised, entries = observed.ledger.header.guarantee, list(observed.ledger.entries)
    if observed.plan and observed.plan.correlation:  # all rounds are the training's one event
        entries = [each for each in entries if each.release != "update"]
    return counted(EPSILON, [each.event for each in entries], promised)


def counted(name: str, events: Sequence[DpEvent], promised: Guarantee) -> Finding:
    """Whether events cost no more than their promise, by `dp_accounting` alone.

    Parameters
    ----------
    name : str
        Of the finding.
    events : sequence of DpEvent
        Of a ledger, all of them.
    promised : Guarantee
        Whose budget they have, at its delta.
    """
    if not math.isfinite(promised.budget):
        return not_shown(name, "Nothing is promised", FILES)
    moved = [_of_group(event, promised.group) for event in events]
    if any(event is None for event in moved):
        return not_shown(name, "Its events are not ones that another accountant counts", FILES)
    # Each composition may add a step of the grid: all of them a fraction of the budget.
    step = min(_GRID, max(_FINEST, _NEAR * promised.budget / (2 * max(len(events), 1))))
    accountant = PLDAccountant(_RELATIONS[promised.relation], value_discretization_interval=step)
    try:
        for event, times in Counter(moved).items():
            accountant.compose(event, times)
        found = float(accountant.get_epsilon(promised.delta))
    except (ValueError, NotImplementedError) as error:
        return not_shown(name, f"Another accountant refuses its events ({error})", FILES)
    figures = {"recomputed": found, "promised": promised.budget, "delta": promised.delta}
    over = found > promised.budget * (1 + _NEAR)
    words = (
        f"Another accountant counts epsilon {found:.3f} for what the ledger holds, where "
        f"{promised.budget:g} is promised ({promised.relation})"
    )
    return finding(name, words if over else "", words, figures, FILES)


def _of_group(event: DpEvent, group: int) -> DpEvent | None:
    """The event for so many units together; None where this accountant has none."""
    if type(event) is GaussianDpEvent:
        return GaussianDpEvent(event.noise_multiplier / group)
    if type(event) is SkellamDpEvent or group != 1:
        return None
    plain = type(event) is PoissonSampledDpEvent and type(event.event) is GaussianDpEvent
    return event if plain else None


def raw(observed: Sums) -> Finding:
    """Whether nothing is released as it is: no sum without its noise, no exact figure in a file."""
    exact = [
        each.exchange.name
        for each in observed.releases
        if each.deviation > 0
        and each.exchange.known
        and abs(each.rest).max(initial=0.0) <= _nothing(each)
    ]
    secret = _secrets(observed)
    told = [where for where, number in _numbers(observed.told, "") if _among(number, secret)]
    words = f"{exact[0]}: released as it is, without noise" if exact else ""
    if told and not words:
        words = f"{told[0]}: an exact figure about people's data"
    figures = {"exact sums": float(len(exact)), "exact figures": float(len(told))}
    return finding(RAW, words, "No exact sum and no exact figure is in any file", figures)


def _nothing(release: Release) -> float:
    """How large the rest of a sum may be that has no noise: what rounding leaves, within reason."""
    return max(1e-6 * release.deviation, min(release.rounding, 1e-4 * release.deviation))


def _secrets(observed: Sums) -> list[float]:
    """Figures that no file may hold: exact sums of metrics, and rates made of them."""
    found = []
    for each in observed.of("metrics"):
        if each.deviation > 0 and each.exchange.known:
            sums = each.exchange.contributions.astype(float).sum(0)
            people = 2 * sums[2]
            found += [float(of) for of in sums]
            found += [0.5 + float(of) / people for of in sums[:2]] if people else []
    return [
        of for of in found if abs(of * 8 - round(of * 8)) > 1e-6
    ]  # round ones are met by chance


def _among(number: float, secrets: list[float]) -> bool:
    return any(math.isclose(number, of, rel_tol=1e-6) for of in secrets)


def _numbers(tree: object, where: str) -> list[tuple[str, float]]:
    """Every number of a tree, and where it stands."""
    if isinstance(tree, dict):
        return [
            at for name, of in tree.items() for at in _numbers(of, f"{where}.{name}".strip("."))
        ]
    if isinstance(tree, list):
        return [at for of in tree for at in _numbers(of, where)]
    return [(where, tree)] if isinstance(tree, float) else []
