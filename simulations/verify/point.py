"""One point: recompute its epsilon from its ledger and compare everything that it claims."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

from shared.errors import ConfigError, LedgerError
from shared.privacy.accounting.accountant import epsilon_prv, epsilon_rdp, largest
from shared.privacy.accounting.steps import steps_of
from shared.privacy.ledger.device_ledgers import DeviceLedgers
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.ledger.promise import SECURE
from shared.privacy.ledger.spent import Record
from shared.privacy.plan.plan import device_plan, server_plan
from shared.privacy.plan.terms import Terms
from shared.run_files import DEVICES_NAME, LEDGER_NAME
from simulations.results import Claim, Point, Tree
from simulations.verify.meaning import differing, meaning_reasons
from simulations.verify.releases import WITH_NUMBERS, differences, release_reasons
from simulations.verify.statistics import statistics_reasons, withheld
from simulations.verify.terms import Expected, settings_give_none, settings_reasons

# The accountant is deterministic; another build of its numerics may differ in the last digits.
_TOLERANCE = 1e-4
_SAME_NOISE = 2e-5  # relative: that of two calibrations, each within 1e-5 of the least
# Beyond this the number has no meaning as a guarantee.
_LARGEST_CROSS_CHECK = 200.0


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
        As the ledger's header has it; None where nothing is promised.
    withheld : tuple of str
        What a real run's ledger counted and its results do not tell.
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
    withheld: tuple[str, ...] = ()

    @property
    def shown(self) -> bool:
        """Whether there is a ledger, which real devices keep, and all that it counted is told."""
        return self.record is not None and not self.withheld

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
        *_split_reasons(claim, expected, terms),
        *release_reasons(record, claim),
        *statistics_reasons(record, claim, expected.config, expected.users),
        *_epsilon_reasons(record, claim, loss, rdp, prv),
        *meaning_reasons(record, claim, expected),
    ]
    if isinstance(record, DeviceLedgers) and record.devices > expected.users > 0:
        reasons.append(f"{record.devices} devices' ledgers, but there are {expected.users} users")
    promise = _promise(record, loss)
    delta = None if math.isinf(loss) else record.header.guarantee.delta
    kept_back = withheld(record, claim, expected.config)
    cells = (name, promise, claimed, loss, rdp, prv, tuple(reasons), record, delta, kept_back)
    return VerifyRow(*cells)


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
            *(f"{kind}_noise_multiplier" for kind in WITH_NUMBERS),
            "noise_multiplier",
            "releases",
        )
        for reason in differing(name, claim.get(name), own.get(name), "the settings give")
    ]


def _split_reasons(claim: Claim, expected: Expected, terms: Terms | None) -> list[str]:
    """Where the budget is split over kinds of release otherwise than settings and users give."""
    if expected.config is None or terms is None:
        return []  # why is among the others
    try:
        plans = [make(expected.config, expected.users) for make in (server_plan, device_plan)]
    except ConfigError as error:
        return [str(error)]
    own = next(plan.stated() for plan in plans if plan and plan.guarantee == terms.guarantee)
    names = ("noise_multiplier", *(f"{kind}_noise_multiplier" for kind in WITH_NUMBERS))
    return [
        f"{name} = {str(claim.get(name))[:40]} claimed, the settings give {own[name]}"
        for name in names
        if not _is_noise(claim, name, own[name])
    ]


def _is_noise(claim: Claim, name: str, given: float | None) -> bool:
    if given is None:
        return claim.get(name) is None
    return math.isclose(claim.number(name), given, rel_tol=_SAME_NOISE)


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
    return differences(claim.beside(record.header.guarantee))


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


def _is_close(claimed: float, loss: float) -> bool:
    if math.isinf(loss) or math.isinf(claimed):
        return claimed == loss
    return abs(claimed - loss) <= _TOLERANCE * (1 + loss)
