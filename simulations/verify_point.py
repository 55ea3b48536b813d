"""One point: recompute its epsilon from its ledger and compare everything that it claims."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dp_accounting import DpEvent

from shared.config import ExperimentConfig, from_dict
from shared.errors import ConfigError, LedgerError
from shared.privacy.accountant import epsilon_prv, epsilon_rdp
from shared.privacy.events import event_to_json
from shared.privacy.history import History, Step, steps_of
from shared.privacy.ledger import Ledger, is_sealed_by
from shared.privacy.policy import policy_hash
from simulations.verify_claims import number, point_words, sealed, users_of

# The accountant is deterministic; another build of its numerics may differ in the last digits.
_TOLERANCE = 1e-4
_SAME = 1e-9  # figures that follow from each other by one division
# Beyond this the number has no meaning as a guarantee, and Opacus's accountant needs gigabytes.
_LARGEST_CROSS_CHECK = 200.0


@dataclass(frozen=True)
class VerifyRow:
    """One point of the run.

    Parameters
    ----------
    point : str
        Which: target epsilon and seed.
    claimed : float
        Epsilon in results.json; NaN if it has none.
    epsilon, epsilon_rdp, epsilon_prv : float or None
        Recomputed from the ledger by PLD, RDP and Opacus's PRV; None where that is not possible.
    reasons : tuple of str
        Everything that disagrees; empty if nothing does.
    """

    point: str
    claimed: float
    epsilon: float | None
    epsilon_rdp: float | None
    epsilon_prv: float | None
    reasons: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether claim, ledger and accountants agree."""
        return not self.reasons

    @property
    def reason(self) -> str:
        """All that disagrees in one line; empty if nothing does."""
        return "; ".join(self.reasons)


def verify_point(
    directory: Path, results: dict[str, Any], point: dict[str, Any], trusted: str | None
) -> VerifyRow:
    """Recompute one point and compare.

    Parameters
    ----------
    directory : Path
        Holds the ledgers.
    results : dict
        Of `simulations.verify_claims.read_results`.
    point : dict
        One of its points.
    trusted : str or None
        The key that the seal must be by, if one is known.
    """
    claimed = number(point, "epsilon")
    name = point_words(number(point, "epsilon_target"), point.get("seed"))
    try:
        ledger = _open_ledger(directory, sealed(point))
        loss = ledger.epsilon()
        rdp, prv = _cross_checks(ledger, loss)
    except (LedgerError, ConfigError) as error:
        return VerifyRow(name, claimed, None, None, None, (str(error),))
    reasons = [
        *_seal_reasons(ledger, sealed(point), trusted),
        *_guarantee_reasons(ledger, point),
        *_settings_reasons(ledger, results, point),
        *_release_reasons(ledger, point),
        *_epsilon_reasons(ledger, point, loss, rdp, prv),
    ]
    return VerifyRow(name, claimed, loss, rdp, prv, tuple(reasons))


def _open_ledger(directory: Path, seal: dict[str, Any]) -> Ledger:
    file = seal.get("file")
    # The name comes from the claim: it must not lead out of the folder.
    if not isinstance(file, str) or not re.fullmatch(r"ledger-[\w.-]+\.jsonl", file):
        raise LedgerError(f"no ledger: file {file!r} is not a name like ledger-*.jsonl")
    return Ledger.open(directory / file)


def _seal_reasons(ledger: Ledger, seal: dict[str, Any], trusted: str | None) -> list[str]:
    reasons = []
    key = seal.get("public_key")
    if seal.get("entries") != len(ledger) or seal.get("head") != ledger.head:
        reasons.append(
            f"the ledger ends after {len(ledger)} entries in {ledger.head[:12]}, "
            f"the seal says {seal.get('entries')} in {str(seal.get('head'))[:12]}: "
            "cut, extended or rewritten"
        )
    if not isinstance(key, str) or not is_sealed_by(key, seal):
        reasons.append("the seal's signature is not valid")
    if trusted and key != trusted:
        reasons.append(
            f"sealed by {str(key)[:12]}, not by the trusted key {trusted[:12]}; if the run is "
            "another operator's, give their key with --public-key"
        )
    return reasons


def _guarantee_reasons(ledger: Ledger, point: dict[str, Any]) -> list[str]:
    header = ledger.header
    words = ("unit", "relation", "trust", "adversary")
    claims: list[tuple[str, Any, Any]] = [
        (name, point.get(name), getattr(header, name)) for name in words
    ]
    claims.append(("delta", number(point, "delta"), header.delta))
    claims.append(("epsilon_target", number(point, "epsilon_target"), header.budget))
    return _differences(claims)


def _settings_reasons(ledger: Ledger, results: dict[str, Any], point: dict[str, Any]) -> list[str]:
    """The settings that results.json shows must be those that the ledger was opened for."""
    try:
        config = from_dict(dict(results["config"]), source="results.json: config")
        config = config.at_epsilon(number(point, "epsilon_target"), point["seed"])
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        return [f"results.json: config does not give this point's settings ({error})"]
    policy = policy_hash(config)
    reasons = _population_reasons(ledger, config, results, point)
    clip, set_clip = number(point, "clipping_norm"), config.privacy.clipping_norm
    if clip != set_clip:
        reasons.append(f"clipping_norm = {clip:g} claimed, the settings give {set_clip:g}")
    if policy != ledger.header.policy:
        reasons.append(
            f"policy: the settings in results.json hash to {policy[:12]}, "
            f"the ledger was opened for {ledger.header.policy[:12]}"
        )
    return reasons


def _population_reasons(
    ledger: Ledger, config: ExperimentConfig, results: dict[str, Any], point: dict[str, Any]
) -> list[str]:
    """Cohort, sampling and delta must fit the number of users; comparisons are false for NaN."""
    users = users_of(results)
    if users is None:
        return [f"results.json: data: {_stated_users(results)}: expected a whole number above 0"]
    reasons = []
    cohort, q = number(point, "cohort"), number(point, "sampling_probability")
    try:
        expected = config.federation.expected_cohort(users)
        if not abs(cohort - expected) <= _SAME * expected:
            reasons.append(f"cohort = {cohort:g} claimed, the settings give {expected:g}")
    except ConfigError as error:
        reasons.append(str(error))
    if not abs(q - cohort / users) <= _SAME:
        reasons.append(
            f"sampling_probability = {q:g} claimed, a cohort of {cohort:g} of {users} users gives "
            f"{cohort / users:g}"
        )
    if not ledger.header.delta <= 1 / users:
        reasons.append(f"delta = {ledger.header.delta:g} exceeds 1/{users}, one over the users")
    return reasons


def _stated_users(results: dict[str, Any]) -> str:
    data = results.get("data")
    return f"users = {data.get('users') if isinstance(data, dict) else None!r}"[:60]


def _release_reasons(ledger: Ledger, point: dict[str, Any]) -> list[str]:
    """Noise, sampling and rounds as claimed must be those that the entries show."""
    noise = number(point, "noise_multiplier")
    q = number(point, "sampling_probability")
    histogram = point.get("histogram_noise_multiplier")
    if histogram is None and noise == 0 and _shown(ledger, "histogram"):
        histogram = 0.0  # a point without noise promises nothing of its histogram either
    rounds = {entry.round for entry in ledger.entries if entry.release == "update"}
    reasons = _differences([("rounds", point.get("rounds"), len(rounds))])
    reasons += _event_reasons(ledger, "update", noise, q)
    if histogram is None:
        if _shown(ledger, "histogram"):
            reasons.append("the ledger shows a histogram release that the point does not state")
    else:
        reasons += _event_reasons(
            ledger, "histogram", number(point | {"histogram": histogram}, "histogram"), 1.0
        )
    return reasons


def _event_reasons(ledger: Ledger, release: str, noise: float, q: float) -> list[str]:
    shown = _shown(ledger, release)
    if not shown:
        return [f"the ledger shows no {release}"]
    claimed = Step(noise, q, 1).event()
    for event in shown:
        if event != claimed:
            return [f"{release}: claimed {_words(claimed)}, the ledger shows {_words(event)}"]
    return []


def _shown(ledger: Ledger, release: str) -> list[DpEvent]:
    return [entry.event for entry in ledger.entries if entry.release == release]


def _words(event: DpEvent) -> str:
    return json.dumps(event_to_json(event))


def _epsilon_reasons(
    ledger: Ledger, point: dict[str, Any], loss: float, rdp: float | None, prv: float | None
) -> list[str]:
    claimed = number(point, "epsilon")
    reasons = []
    if not _is_close(claimed, loss):
        reasons.append(f"epsilon = {claimed:g} claimed, {loss:g} spent by the ledger")
    if loss > ledger.header.budget * (1 + _TOLERANCE):
        reasons.append(f"{loss:g} spent exceeds the budget of {ledger.header.budget:g}")
    for name, own in (("epsilon_rdp", rdp), ("epsilon_prv", prv)):
        if own is not None and point.get(name) is not None and number(point, name) < own - 0.05:
            reasons.append(f"{name} = {point[name]} claimed, {own:g} recomputed")
    if (
        rdp is not None
        and rdp <= _LARGEST_CROSS_CHECK
        and loss > rdp * (1 + _TOLERANCE) + _TOLERANCE
    ):
        reasons.append(f"accountants disagree: PLD {loss:g} exceeds RDP {rdp:g}")
    if prv is not None and not math.isinf(loss) and abs(loss - prv) > 0.03 + 0.01 * loss:
        reasons.append(f"accountants disagree: PLD {loss:g}, PRV {prv:g}")
    return reasons


def _cross_checks(ledger: Ledger, loss: float) -> tuple[float | None, float | None]:
    history: History = [(entry.event, 1) for entry in ledger.entries]
    delta, relation = ledger.header.delta, ledger.header.relation
    if not steps_of(history, relation):
        return 0.0, 0.0
    rdp = epsilon_rdp(history, delta, relation)
    if _LARGEST_CROSS_CHECK < loss < math.inf:
        return rdp, None
    try:
        return rdp, epsilon_prv(history, delta, relation)
    except (RuntimeError, ValueError):  # its grid cannot resolve this history
        return rdp, None


def _differences(claims: list[tuple[str, Any, Any]]) -> list[str]:
    return [
        f"{name} = {claimed!r} claimed, {shown!r} in the ledger"
        for name, claimed, shown in claims
        if type(claimed) is not type(shown) or claimed != shown
    ]


def _is_close(claimed: float, loss: float) -> bool:
    if math.isinf(loss) or math.isinf(claimed):
        return claimed == loss
    return abs(claimed - loss) <= _TOLERANCE * (1 + loss)
