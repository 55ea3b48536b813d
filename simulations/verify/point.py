"""One point: recompute its epsilon from its ledger and compare everything that it claims."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from dp_accounting import DpEvent, NoOpDpEvent, SelfComposedDpEvent

from shared.errors import ConfigError, LedgerError
from shared.privacy.accounting.accountant import epsilon_prv, epsilon_rdp, largest
from shared.privacy.accounting.events import event_from_json, event_to_json
from shared.privacy.accounting.steps import Step, steps_of
from shared.privacy.ledger.device_ledgers import DeviceLedgers
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.ledger.promise import SECURE
from shared.privacy.ledger.spent import Record
from shared.privacy.mechanisms.gaussian import is_joint
from shared.privacy.plan.plan import device_plan
from shared.privacy.plan.terms import Terms
from shared.run_files import DEVICES_NAME, LEDGER_NAME
from simulations.results import Claim, Point, Tree
from simulations.verify.meaning import differing, meaning_reasons
from simulations.verify.statistics import statistics_reasons
from simulations.verify.terms import Expected, settings_give_none, settings_reasons

# The accountant is deterministic; another build of its numerics may differ in the last digits.
_TOLERANCE = 1e-4
_MOST_STEPS = 10**6
# Beyond this the number has no meaning as a guarantee.
_LARGEST_CROSS_CHECK = 200.0
# Kinds of release with noise and sampling of their own, stated beside those of the rounds.
_WITH_NUMBERS = ("histogram", "metrics")
_OF_ROUNDS = ("update", "metrics")  # all others come before the first


@dataclass(frozen=True)
class VerifyRow:
    """One point of the run.

    Parameters
    ----------
    point : str
        Which: target epsilon and seed.
    promise : str
        What the recomputed figure bounds, as the ledger says it: privacy unit and trust.
    claimed : float
        Epsilon in results.json; NaN if it has none.
    epsilon, epsilon_rdp, epsilon_prv : float or None
        Recomputed from the ledger by PLD, RDP and Opacus's PRV; None where that is not possible.
    reasons : tuple of str
        Everything that disagrees; empty if nothing does.
    record : Ledger or DeviceLedgers or None
        What the figures were recomputed from; None if it cannot be read.
    delta : float or None
        As the ledger's header has it.
    """

    point: str
    promise: str
    claimed: float
    epsilon: float | None
    epsilon_rdp: float | None
    epsilon_prv: float | None
    reasons: tuple[str, ...]
    record: Record | None = field(default=None, compare=False)
    delta: float | None = None

    @property
    def shown(self) -> bool:
        """Whether there is a ledger to recompute from: real devices keep theirs."""
        return self.record is not None

    @property
    def ok(self) -> bool:
        """Whether claim, ledger and accountants agree."""
        return not self.reasons

    @property
    def reason(self) -> str:
        """All that disagrees in one line; empty if nothing does."""
        return "; ".join(self.reasons)


def verify_point(directory: Path, point: Point, expected: Expected) -> tuple[VerifyRow, ...]:
    """Recompute one point and compare.

    Parameters
    ----------
    directory : Path
        Holds the ledgers.
    point : Point
        One of the results'.
    expected : Expected
        What the settings in results.json promise of it.

    Returns
    -------
    tuple of VerifyRow
        One for each guarantee: a point under both units has two.
    """
    name = point_words(point.number("epsilon_target"), point.get("seed"))
    names = (name, f"{name}, per example")
    claims, real = point.claims, point.get("noise") == SECURE
    rows = [
        _on_devices(name, claim, expected, terms)
        if real and terms and terms.guarantee.trust == "local"
        else _verify_guarantee(directory, name, claim, expected, terms)
        for name, claim, terms in zip(names, claims, [*expected.terms, None], strict=False)
    ]
    missing = len(expected.terms) - len(claims)
    wrong = expected.problems + (("a guarantee that the settings give is not stated",) * missing)
    return (replace(rows[0], reasons=rows[0].reasons + wrong), *rows[1:])


def _verify_guarantee(
    directory: Path,
    name: str,
    claim: Claim,
    expected: Expected,
    terms: Terms | None,
) -> VerifyRow:
    claimed = claim.number("epsilon")
    try:
        record = _open_record(directory, claim)
        loss = record.epsilon()
        rdp, prv = _cross_checks(record)
    # A ledger may come from anyone: of some numbers the accountants can make nothing.
    except (LedgerError, ConfigError, ArithmeticError, ValueError) as error:
        wrong = settings_give_none(expected, terms) or (_one_line(error),)
        return VerifyRow(name, "-", claimed, None, None, None, wrong)
    reasons = [
        *_end_reasons(record, claim.ledger),
        *_guarantee_reasons(record, claim),
        *settings_reasons(record.header, claim, expected, terms),
        *_release_reasons(record, claim),
        *statistics_reasons(record, claim, expected.config, expected.users),
        *_epsilon_reasons(record, claim, loss, rdp, prv),
        *meaning_reasons(record, claim, expected),
    ]
    if isinstance(record, DeviceLedgers) and record.devices > expected.users > 0:
        reasons.append(f"{record.devices} devices' ledgers, but there are {expected.users} users")
    promise = _promise(record, loss)
    delta = record.header.guarantee.delta
    return VerifyRow(name, promise, claimed, loss, rdp, prv, tuple(reasons), record, delta)


def _on_devices(name: str, claim: Claim, expected: Expected, terms: Terms) -> VerifyRow:
    """Real devices that add noise keep their own ledgers: nothing here shows what was spent."""
    reasons = settings_reasons(None, claim, expected, terms)
    for word in ("epsilon", "epsilon_rdp", "epsilon_prv", "meaning", "ledger"):
        if word in claim.stated:
            reasons.append(f"{word} claimed, and each device keeps its own ledger: none is shown")
    reasons += _plan_reasons(claim, expected)
    reasons += statistics_reasons(None, claim, expected.config, expected.users)
    told = terms.guarantee
    return VerifyRow(
        name,
        f"{told.unit}, {told.trust}",
        claim.number("epsilon_target"),
        None,
        None,
        None,
        tuple(reasons),
        delta=told.delta,
    )


def _plan_reasons(claim: Claim, expected: Expected) -> list[str]:
    """Where noise and events are not those that devices compute from settings and users."""
    if expected.config is None:
        return []
    try:
        plan = device_plan(expected.config, expected.users)
    except ConfigError as error:
        return [str(error)]
    own = plan.stated() if plan else {}
    return [
        reason
        for name in (
            *(f"{kind}_noise_multiplier" for kind in _WITH_NUMBERS),
            "noise_multiplier",
            "releases",
        )
        for reason in differing(name, claim.get(name), own.get(name), "the settings give")
    ]


def _one_line(error: Exception) -> str:
    known = isinstance(error, LedgerError | ConfigError)
    return str(error) if known else f"the accountants cannot count its ledger ({str(error)[:80]})"


def point_words(epsilon: float, seed: object) -> str:
    """What a point is called in reports: target epsilon and seed, different for any two points."""
    return f"epsilon {repr(epsilon).removesuffix('.0')}, seed {seed!r}"


def plain_file(path: Path) -> Path:
    """The path, if a file lies there or nothing: not a link, which may lead out of the folder.

    Raises
    ------
    LedgerError
        If something else does, or the name is none that a file can have.
    """
    try:
        wrong = path.is_symlink() or (path.exists() and not path.is_file())
    except OSError as error:
        raise LedgerError(f"{path.name[:99]}: cannot be read: {error.strerror}") from None
    if wrong:
        raise LedgerError(f"{path.name}: cannot be read: a link, or no plain file")
    return path


def _promise(record: Record, loss: float) -> str:
    if math.isinf(loss):
        return "not private"
    header = record.header.guarantee
    together = f" (groups of {header.group})" if header.group > 1 else ""
    return f"{header.unit}{together}, {header.trust}"


def _open_record(directory: Path, claim: Claim) -> Record:
    file = claim.ledger.get("file")
    # The name comes from the claim: it must not lead out of the folder.
    if isinstance(file, str) and DEVICES_NAME.fullmatch(file):
        return DeviceLedgers.open(directory / file)
    if not isinstance(file, str) or not LEDGER_NAME.fullmatch(file):
        raise LedgerError(f"no ledger: file {str(file)[:99]!r} is not a name like ledger-*.jsonl")
    return Ledger.open(plain_file(directory / file))


def _end_reasons(record: Record, stated: Tree) -> list[str]:
    if stated.get("entries") == len(record) and stated.get("head") == record.head:
        return []
    return [
        f"the ledger ends after {len(record)} entries in {record.head[:12]}, "
        f"the results say {stated.get('entries')} in {str(stated.get('head'))[:12]}: "
        "cut, extended or rewritten"
    ]


def _guarantee_reasons(record: Record, claim: Claim) -> list[str]:
    return _differences(claim.beside(record.header.guarantee))


def _release_reasons(record: Record, claim: Claim) -> list[str]:
    """What the entries show must be what is claimed: kinds, events, how often, rounds."""
    claimed = claim.get("releases")
    if not isinstance(claimed, dict) or not all(isinstance(at, dict) for at in claimed.values()):
        return ["releases: expected an object of objects"]
    shown = {entry.release for entries in record.records() for entry in entries}
    reasons = _round_reasons(record, claim)
    for kind in sorted(shown - set(claimed)):
        reasons.append(f"the ledger shows a {kind} release that the point does not state")
    for kind, stated in sorted(claimed.items()):
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
    stated: dict[str, DpEvent] = {} if _is_joint(claimed, update) else {"update": update}
    if "training" in claimed:  # all rounds are one mechanism, and a round costs nothing more
        stated = {"training": update, "update": NoOpDpEvent()}
    for kind in _WITH_NUMBERS:
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
    reasons = [
        f"{entry.release}: recorded in a round outside 1 to {last:g}: {entry.round}"
        for entries in record.records()
        for entry in entries
        if not (1 <= entry.round <= last if entry.release in _OF_ROUNDS else entry.round == 0)
    ][:1]
    if isinstance(record, Ledger):
        counted = _differences([("rounds", claim.get("rounds"), len(set(rounds[0])))])
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


def _epsilon_reasons(
    record: Record, claim: Claim, loss: float, rdp: float | None, prv: float | None
) -> list[str]:
    claimed = claim.number("epsilon")
    reasons = []
    if not _is_close(claimed, loss):
        reasons.append(f"epsilon = {claimed:g} claimed, {loss:g} spent by the ledger")
    budget = record.header.guarantee.budget
    if loss > budget * (1 + _TOLERANCE):
        reasons.append(f"{loss:g} spent exceeds the budget of {budget:g}")
    for name, own in (("epsilon_rdp", rdp), ("epsilon_prv", prv)):
        least = loss * 0.99 if own is None else own  # what its accountant cannot say, PLD can
        if claim.get(name) is not None and not claim.number(name) >= least - 0.05:
            reasons.append(f"{name} = {str(claim.get(name))[:40]} claimed, {least:g} recomputed")
    if (
        rdp is not None
        and rdp <= _LARGEST_CROSS_CHECK
        and loss > rdp * (1 + _TOLERANCE) + _TOLERANCE
    ):
        reasons.append(f"accountants disagree: PLD {loss:g} exceeds RDP {rdp:g}")
    if prv is not None and not math.isinf(loss) and abs(loss - prv) > 0.03 + 0.01 * loss:
        reasons.append(f"accountants disagree: PLD {loss:g}, PRV {prv:g}")
    return reasons


def _cross_checks(record: Record) -> tuple[float | None, float | None]:
    histories = record.histories()
    promised = record.header.guarantee
    counted = (histories, *promised.counted)
    if not any(steps_of(history, promised.relation) for history in histories):
        return 0.0, 0.0
    rdp = largest(epsilon_rdp, *counted)
    return rdp, largest(epsilon_prv, *counted)


def _differences(claims: list[tuple[str, object, object]]) -> list[str]:
    return [
        f"{name} = {claimed!r} claimed, {shown!r} in the ledger"
        for name, claimed, shown in claims
        if type(claimed) is not type(shown) or claimed != shown
    ]


def _is_close(claimed: float, loss: float) -> bool:
    if math.isinf(loss) or math.isinf(claimed):
        return claimed == loss
    return abs(claimed - loss) <= _TOLERANCE * (1 + loss)
