"""Whether the releases that a ledger shows are those that are claimed: kinds, rounds, noise."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import pairwise

from dp_accounting import DpEvent, NoOpDpEvent, SelfComposedDpEvent

from shared.errors import ConfigError
from shared.privacy.accounting.events import event_from_json, event_to_json
from shared.privacy.accounting.steps import Step, steps_of
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.ledger.spent import Record
from shared.privacy.mechanisms.gaussian import is_joint
from simulations.results import Claim, Tree

_MOST_STEPS = 10**6
WITH_NUMBERS = ("histogram", "moments", "metrics")
"""Kinds of release with noise and sampling of their own, stated beside those of the rounds."""
_OF_ROUNDS = ("update", "metrics")  # all others come before the first


def release_reasons(record: Record, claim: Claim) -> list[str]:
    """What the entries show must be what is claimed: kinds, events, how often, rounds."""
    claimed = claim.get("releases")
    if not isinstance(claimed, dict) or not all(isinstance(at, dict) for at in claimed.values()):
        return ["releases: expected an object of objects"]
    shown = {entry.release for entries in record.records() for entry in entries}
    reasons = _round_reasons(record, claim)
    for kind in sorted(shown - set(claimed)):
        reasons.append(f"the ledger shows a {kind} release that the point does not state")
    for kind, stated in sorted(claimed.items()):
        if kind in shown or claim.table("opened").get(kind) is not False:  # else it was in no sum
            reasons += _event_reasons(record, kind, stated.get("event"))
        reasons += _times_reasons(record, kind, stated.get("times"))
    return reasons + _noise_reasons(claim, claimed)


def _times_reasons(record: Record, kind: str, times: object) -> list[str]:
    # A round recorded twice over a crash is one round that cost twice.
    counts = [
        len({entry.round for entry in entries if entry.release == kind})
        for entries in record.records()
    ]
    most = max(counts, default=0)
    if type(times) is not int or most > times:
        return [f"{kind}: claimed {times!r} times at most, the ledger shows {most}"]
    return []


def _noise_reasons(claim: Claim, claimed: Mapping[str, Tree]) -> list[str]:
    """The noise that is stated in numbers must be that of the stated events."""
    steps, q = claim.get("steps"), claim.number("sampling_probability")
    if type(steps) is not int or not 1 <= steps < _MOST_STEPS:
        return [f"steps = {steps!r}: expected a whole number from 1 to {_MOST_STEPS}"]
    if claim.get("trust") == "distributed":
        return []  # not Gaussian: compared with the settings' grid, see `settings_reasons`
    update = _update_event(claim.number("noise_multiplier"), q, steps)
    rounds = claim.get("updates") != 0  # else nothing is released of any
    stated: dict[str, DpEvent] = {}
    if rounds and not _is_joint(claimed, update):
        stated = {"update": update}
    if "training" in claimed:  # all rounds are one mechanism, and a round costs nothing more
        stated = {"training": update, "update": NoOpDpEvent()}
    for kind in WITH_NUMBERS:
        if claim.get(f"{kind}_noise_multiplier") is not None:
            noise = claim.number(f"{kind}_noise_multiplier")
            stated[kind] = Step(noise, claim.number(f"{kind}_sampling"), 1).event()
        elif kind in claimed:
            return [f"{kind}: an event is claimed, and no noise"]
    return [
        f"{kind}: claimed {_words(event)} in numbers, and another event"
        for kind, event in stated.items()
        if claimed.get(kind, {}).get("event") != event_to_json(event)
    ]


def _is_joint(claimed: Mapping[str, Tree], update: DpEvent) -> bool:
    """Whether update and bits together, as claimed, cost what the one number says."""
    try:
        event = event_from_json(claimed.get("update", {}).get("event"))
        own, other = steps_of([(event, 1)]), steps_of([(update, 1)])
    except ConfigError:
        return False
    return is_joint(event) and all(
        math.isclose(a, b, rel_tol=1e-9)
        for one, two in zip(own, other, strict=True)
        for a, b in zip(one, two, strict=True)
    )


def _round_reasons(record: Record, claim: Claim) -> list[str]:
    """A server records every round; a device the rounds that it took part in."""
    rounds = [
        [entry.round for entry in entries if entry.release == "update"]
        for entries in record.records()
    ]
    last = claim.number("rounds")
    least = min(last, 1)  # without rounds, what is measured is of round 0
    reasons = [
        f"{entry.release}: recorded in a round outside {least:g} to {last:g}: {entry.round}"
        for entries in record.records()
        for entry in entries
        if not (least <= entry.round <= last if entry.release in _OF_ROUNDS else entry.round == 0)
    ][:1]
    if isinstance(record, Ledger):
        counted = differences([("rounds", claim.get("rounds"), len(set(rounds[0])))])
        return [*reasons, *counted, *_row_reasons(record, claim, rounds[0])]
    most = claim.number("updates")
    if not all(len(taken) <= most for taken in rounds):
        reasons.append(f"a device took part more than {most:g} times")
    return reasons


def _row_reasons(record: Ledger, claim: Claim, rounds: list[int]) -> list[str]:
    """Under correlated noise a round has one row of it, and all are counted before the first."""
    kinds = [entry.release for entry in record.entries]
    if "training" not in kinds:
        return []
    reasons = []
    if any(after <= before for before, after in pairwise([0, *rounds])):
        reasons.append("a round's correlated noise was used twice, or out of order")
    if rounds and rounds[-1] > claim.number("updates"):
        reasons.append(f"round {rounds[-1]}: the correlated noise has fewer")
    if "update" in kinds and kinds.index("update") < kinds.index("training"):
        reasons.append("an update was released before the training was recorded")
    return reasons


def _update_event(noise: float, q: float, steps: int) -> DpEvent:
    event = Step(noise, q, 1).event()
    return event if steps == 1 else SelfComposedDpEvent(event, steps)


def _event_reasons(record: Record, release: str, claimed: object) -> list[str]:
    shown = _shown(record, release)
    if not shown:
        return [f"the ledger shows no {release}"]
    for event in shown:
        if event_to_json(event) != claimed:
            said = json.dumps(claimed)[:200]
            return [f"{release}: claimed {said}, the ledger shows {_words(event)}"]
    return []


def _shown(record: Record, release: str) -> list[DpEvent]:
    return [
        entry.event for entries in record.records() for entry in entries if entry.release == release
    ]


def _words(event: DpEvent) -> str:
    return json.dumps(event_to_json(event))


def differences(claims: list[tuple[str, object, object]]) -> list[str]:
    """Where name, claim and what the ledger has differ, in words."""
    return [
        f"{name} = {claimed!r} claimed, {shown!r} in the ledger"
        for name, claimed, shown in claims
        if type(claimed) is not type(shown) or claimed != shown
    ]
