"""Released metrics and clipping norms, against the ledger that they must follow from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np

from shared.config import ExperimentConfig
from shared.errors import ConfigError, ProtocolError
from shared.privacy.accounting.steps import Step, steps_of
from shared.privacy.contribution.adaptive_clip import QuantileRule
from shared.privacy.contribution.evaluation import ABOUT, estimate_metrics, selected_round
from shared.privacy.contribution.units import quantile_rule
from shared.privacy.ledger.device_ledgers import DeviceLedgers
from shared.privacy.ledger.ledger import Ledger, LedgerEntry
from shared.privacy.ledger.promise import SEEDED
from shared.privacy.mechanisms.gaussian import is_joint
from simulations.results import Claim

_SAME = 1e-9
_CLIP = ("clipping_norms", "clipping_bits")
# What sums and figures from anyone may raise; numbers too large for floats overflow.
_MALFORMED = (
    ConfigError,
    KeyError,
    OverflowError,
    ProtocolError,
    RecursionError,
    TypeError,
    ValueError,
)


def statistics_reasons(
    record: Ledger | DeviceLedgers | None,
    claim: Claim,
    config: ExperimentConfig | None,
    users: int,
) -> list[str]:
    """Where a point's released metrics or clipping norms are not what its ledger allows.

    Parameters
    ----------
    record : Ledger or DeviceLedgers or None
        Devices noise neither: what they recorded must show none of it. None where they keep that.
    claim : Claim
        A guarantee of a point.
    config : ExperimentConfig or None
        Its settings, where they are of use; without them nothing can be compared.
    users : int
        Size of the population.
    """
    if config is None:
        return []  # why is among the problems of the settings
    entries = record.entries if isinstance(record, Ledger) else ()
    # Who was asked, not what the accountants may count: against who knows it nothing amplifies.
    q = config.federation.expected_metrics_cohort(users) / users
    return [
        *_metrics_reasons(entries, claim, q, config.federation.select == "private_metric"),
        *_clip_reasons(entries, claim, config, users),
    ]


def _metrics_reasons(
    entries: Sequence[LedgerEntry], claim: Claim, q: float, selects: bool
) -> list[str]:
    recorded = [entry for entry in entries if entry.release == "metrics"]
    stated: Any = claim.get("released_metrics")
    if not recorded:
        return [] if stated is None else ["released_metrics claimed, the ledger shows none"]
    try:
        releases = [dict(found) for found in dict(stated or {})["releases"]]
        rounds = [found.pop("round") for found in releases]
    except (KeyError, TypeError, ValueError):
        return ["released_metrics: expected a list of releases, each with its round"]
    shown = [entry.round for entry in recorded]
    if _may_lose(claim):
        recorded = [entry for entry in recorded if entry.round in rounds]
    if rounds != [entry.round for entry in recorded]:
        return [f"released_metrics: of rounds {rounds} claimed, the ledger shows {shown}"]
    reasons = [
        f"released_metrics of round {entry.round}: its figures do not follow from its noised sums"
        for found, entry in zip(releases, recorded, strict=True)
        if not _follows(found, entry, q)
    ]
    reasons += [
        f"released_metrics.{name} = {str(stated.get(name))[:60]!r} claimed: expected {said!r}"
        for name, said in ABOUT.items()
        if stated.get(name) != said
    ]
    return reasons or _selection_reasons(dict(stated), selects)


def withheld(
    record: Ledger | DeviceLedgers | None, claim: Claim, config: ExperimentConfig | None
) -> tuple[str, ...]:
    """What a real run's ledger counted and its results do not tell: kept back, or lost in a crash.

    Nobody can say which, so nothing is shown of it. Parameters as for `statistics_reasons`.
    """
    entries = record.entries if isinstance(record, Ledger) else ()
    counted = [entry.round for entry in entries if entry.release == "metrics"]
    found: Any = claim.table("released_metrics").get("releases")
    told = [at.get("round") for at in found if isinstance(at, dict)] if _is_list(found) else []
    missing = [str(number) for number in counted if number not in told]
    lines = [f"released_metrics: not told of round {', '.join(missing)}"] if missing else []
    bits = claim.get("clipping_bits")
    if config is not None and quantile_rule(config) is not None and isinstance(bits, list):
        gaps = [str(number) for number, total in enumerate(bits, 1) if total is None]
        lines += [f"clipping_bits: not told of round {', '.join(gaps)}"] if gaps else []
    why = "in the ledger; kept back, or lost in a crash"
    return tuple(f"{line}, which is {why}" for line in lines)


def _is_list(found: object) -> bool:
    return isinstance(found, list)


def _may_lose(claim: Claim) -> bool:
    """Whether a crash may lose what was released after it was counted: a simulation repeats it."""
    return claim.get("noise") != SEEDED


def _selection_reasons(stated: Any, selects: bool) -> list[str]:
    """The round that was selected must be the one whose released figures are best."""
    given = selected_round(stated["releases"]) if selects else None
    claimed = stated.get("selected_round")
    told = "selected_round" in stated
    if told is not selects or type(claimed) is not type(given) or claimed != given:
        return [f"selected_round = {str(claimed)[:40]} claimed, settings and releases give {given}"]
    return []


def _follows(found: dict[str, object], entry: LedgerEntry, q: float) -> bool:
    """Whether value, interval and count are those that sums, noise and sampling give."""
    try:
        (step,) = steps_of([(entry.event, 1)])
        if not isinstance(step, Step):
            return False
        sums = np.array(found.pop("sums"), dtype=np.float64)
        own = estimate_metrics(sums, step.noise_multiplier, q).plain()
        stated = _flat(found)
    except _MALFORMED:
        return False
    return stated is not None and _close(stated, _flat(own) or {})


def _flat(tree: Any) -> dict[str, float] | None:
    """Nested numbers by their dotted names; None where something else is among them."""
    if not isinstance(tree, dict):
        return None
    flat: dict[str, float] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            inner = _flat(value)
            if inner is None:
                return None
            flat |= {f"{name}.{key}": number for key, number in inner.items()}
        elif value == "inf":
            flat[name] = math.inf
        elif type(value) in (int, float):
            flat[name] = float(value)
        else:
            return None
    return flat


def _close(one: dict[str, float], other: dict[str, float]) -> bool:
    return one.keys() == other.keys() and all(
        math.isclose(one[name], other[name], rel_tol=_SAME, abs_tol=_SAME) for name in one
    )


def _clip_reasons(
    entries: Sequence[LedgerEntry], claim: Claim, config: ExperimentConfig, users: int
) -> list[str]:
    """Every norm must follow from the one before and the round's released bits."""
    rule = quantile_rule(config)
    updates = [entry.event for entry in entries if entry.release == "update"]
    if any(is_joint(event) is (rule is None) for event in updates):
        return ["update: with bits of the clip, or without: not what the settings give"]
    if rule is None:
        told = any(claim.get(name) is not None for name in _CLIP)
        return ["clipping_norms claimed, the settings fix the clip"] if told else []
    may_lose = _may_lose(claim)
    for name, gaps in zip(_CLIP, (False, may_lose), strict=True):
        numbers = claim.get(name)
        if not (isinstance(numbers, list) and all(_is_number(one, gaps) for one in numbers)):
            return [f"{name} = {str(numbers)[:40]}: expected a list of numbers"]
    return _norm_reasons(rule, claim, config, users)


def _norm_reasons(
    rule: QuantileRule, claim: Claim, config: ExperimentConfig, users: int
) -> list[str]:
    rounds = config.federation.fixed_rounds
    norms, bits = (cast("list[Any]", claim.get(name)) for name in _CLIP)
    if (len(norms), len(bits)) != (rounds + 1, rounds) or norms[0] != rule.start:
        return [
            f"clipping_norms: expected {rounds + 1} of them, the first {rule.start:g}, and "
            f"{rounds} clipping_bits"
        ]
    expected = config.federation.expected_cohort(users)
    for number, ((norm, after), total) in enumerate(zip(pairwise(norms), bits, strict=True), 1):
        given = norm if total is None else rule.next(norm, total, expected)
        if not math.isclose(after, given, rel_tol=_SAME):
            return [
                f"clipping_norms: {after:g} claimed after round {number}, its bits give {given:g}"
            ]
    return []


def _is_number(value: object, gap: bool) -> bool:
    """Whether it is a finite number, or null where there may be a gap."""
    return (value is None and gap) or (type(value) is float and math.isfinite(value))
