"""Recompute what a run cost from its ledgers, and compare with what it claims.

`results.json` is the claim; `ledger-*.jsonl` beside it are what happened. Everything that the
claim says about a guarantee is checked against the chained, sealed ledger of its point.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dp_accounting import DpEvent

from shared.config import from_dict
from shared.errors import ConfigError, DataError, LedgerError
from shared.privacy.accountant import epsilon_prv, epsilon_rdp
from shared.privacy.events import event_to_json
from shared.privacy.history import History, Step, steps_of
from shared.privacy.keys import trusted_public_key
from shared.privacy.ledger import Ledger, is_sealed_by
from shared.privacy.policy import policy_hash

# The accountant is deterministic; another build of its numerics may differ in the last digits.
_TOLERANCE = 1e-4
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


@dataclass(frozen=True)
class VerifyReport:
    """What `verify_run` found.

    Parameters
    ----------
    rows : tuple of VerifyRow
        In the order of results.json.
    problems : tuple of str
        Of the run as a whole, such as a ledger that no point claims.
    signer : str
        Who vouches for the ledgers, or that no one does.
    """

    rows: tuple[VerifyRow, ...]
    problems: tuple[str, ...]
    signer: str

    @property
    def ok(self) -> bool:
        """Whether every point and the run as a whole agree."""
        return not self.problems and all(row.ok for row in self.rows)


def verify_run(directory: Path, public_key: str | None = None) -> VerifyReport:
    """Recompute every epsilon in a run from its ledgers.

    Parameters
    ----------
    directory : Path
        Holds results.json and the ledgers.
    public_key : str, optional
        The operator's key that the seals must be by, 64 hexadecimal digits. Default: the one in
        the local key store; if there is none, the report says that the signer is not vouched for.

    Returns
    -------
    VerifyReport
        Not `ok` if any claim and its ledger disagree.

    Raises
    ------
    DataError
        If results.json is missing, unreadable or not results.
    ConfigError
        If `public_key` is not a key.
    """
    if public_key is not None and not re.fullmatch("[0-9a-f]{64}", public_key):
        raise ConfigError(f"public key {public_key!r}: expected 64 hexadecimal digits (0-9, a-f)")
    results = _read_results(directory / "results.json")
    trusted = public_key or trusted_public_key()
    rows = tuple(_verify_point(directory, results, point, trusted) for point in results["points"])
    return VerifyReport(
        rows=rows,
        problems=tuple(_run_problems(directory, results["points"])),
        signer=f"seals must be by {trusted}"
        if trusted
        else "the signer is not vouched for: no key in the local key store, and none given "
        "(--public-key); whoever can write to the folder could have rewritten everything",
    )


def _read_results(path: Path) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        repeated = [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]
        if repeated:
            raise ValueError(f"{repeated[0]!r} is given twice")
        return dict(pairs)

    try:
        results = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; give a run's folder") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file: {error}") from None
    if not isinstance(results, dict) or results.get("schema") != 1:
        raise DataError(f"{path}: not results of schema 1")
    points = results.get("points")
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise DataError(f"{path}: points: expected a list of objects")
    return results


def _run_problems(directory: Path, points: list[dict[str, Any]]) -> list[str]:
    """What shows only across points: ledgers without or with several claims, equal ledgers."""
    claimed = Counter(str(_sealed(point).get("file")) for point in points)
    present = sorted(path.name for path in directory.glob("ledger-*.jsonl"))
    heads = Counter(str(_sealed(point).get("head")) for point in points)
    problems = [f"{name}: no point of results.json claims it" for name in set(present) - {*claimed}]
    problems += [f"{name}: claimed by {n} points" for name, n in claimed.items() if n > 1]
    problems += [f"head {head}: claimed by {n} points" for head, n in heads.items() if n > 1]
    if not points:
        problems.append("results.json has no points: nothing is shown")
    return sorted(problems)


def _sealed(point: dict[str, Any]) -> dict[str, Any]:
    sealed = point.get("ledger")
    return sealed if isinstance(sealed, dict) else {}


def _verify_point(
    directory: Path, results: dict[str, Any], point: dict[str, Any], trusted: str | None
) -> VerifyRow:
    claimed = _number(point, "epsilon")
    name = f"epsilon {point.get('epsilon_target')}, seed {point.get('seed')}"
    try:
        ledger = _open_ledger(directory, _sealed(point))
        loss = ledger.epsilon()
        rdp, prv = _cross_checks(ledger, loss)
    except (LedgerError, ConfigError) as error:
        return VerifyRow(name, claimed, None, None, None, (str(error),))
    reasons = [
        *_seal_reasons(ledger, _sealed(point), trusted),
        *_guarantee_reasons(ledger, point),
        *_policy_reasons(ledger, results, point),
        *_release_reasons(ledger, point),
        *_epsilon_reasons(ledger, point, loss, rdp, prv),
    ]
    return VerifyRow(name, claimed, loss, rdp, prv, tuple(reasons))


def _open_ledger(directory: Path, sealed: dict[str, Any]) -> Ledger:
    file = sealed.get("file")
    # The name comes from the claim: it must not lead out of the folder.
    if not isinstance(file, str) or not re.fullmatch(r"ledger-[\w.-]+\.jsonl", file):
        raise LedgerError(f"no ledger: file {file!r} is not a name like ledger-*.jsonl")
    return Ledger.open(directory / file)


def _seal_reasons(ledger: Ledger, sealed: dict[str, Any], trusted: str | None) -> list[str]:
    reasons = []
    key = sealed.get("public_key")
    if sealed.get("entries") != len(ledger) or sealed.get("head") != ledger.head:
        reasons.append(
            f"the ledger ends after {len(ledger)} entries in {ledger.head[:12]}, "
            f"the seal says {sealed.get('entries')} in {str(sealed.get('head'))[:12]}: "
            "cut, extended or rewritten"
        )
    if not isinstance(key, str) or not is_sealed_by(key, sealed):
        reasons.append("the seal's signature is not valid")
    if trusted and key != trusted:
        reasons.append(
            f"sealed by {str(key)[:12]}, not by the trusted key {trusted[:12]}; if the run is "
            "another operator's, give their key with --public-key"
        )
    return reasons


def _guarantee_reasons(ledger: Ledger, point: dict[str, Any]) -> list[str]:
    header = ledger.header
    claims: list[tuple[str, Any, Any]] = [
        (name, point.get(name), getattr(header, name)) for name in ("unit", "relation", "trust")
    ]
    if "adversary" in point:
        claims.append(("adversary", point["adversary"], header.adversary))
    claims.append(("delta", _number(point, "delta"), header.delta))
    claims.append(("epsilon_target", _number(point, "epsilon_target"), header.budget))
    return _differences(claims)


def _policy_reasons(ledger: Ledger, results: dict[str, Any], point: dict[str, Any]) -> list[str]:
    """The settings that results.json shows must be those that the ledger was opened for."""
    try:
        config = from_dict(dict(results["config"]), source="results.json: config")
        policy = policy_hash(config.at_epsilon(_number(point, "epsilon_target"), point["seed"]))
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        return [f"results.json: config does not give this point's settings ({error})"]
    if policy != ledger.header.policy:
        return [
            f"policy: the settings in results.json hash to {policy[:12]}, "
            f"the ledger was opened for {ledger.header.policy[:12]}"
        ]
    return []


def _release_reasons(ledger: Ledger, point: dict[str, Any]) -> list[str]:
    """Noise, sampling and rounds as claimed must be those that the entries show."""
    noise = _number(point, "noise_multiplier")
    q = _number(point, "sampling_probability")
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
            ledger, "histogram", _number(point | {"histogram": histogram}, "histogram"), 1.0
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
    claimed = _number(point, "epsilon")
    reasons = []
    if not _is_close(claimed, loss):
        reasons.append(f"epsilon = {claimed:g} claimed, {loss:g} spent by the ledger")
    if loss > ledger.header.budget * (1 + _TOLERANCE):
        reasons.append(f"{loss:g} spent exceeds the budget of {ledger.header.budget:g}")
    for name, own in (("epsilon_rdp", rdp), ("epsilon_prv", prv)):
        if own is not None and point.get(name) is not None and _number(point, name) < own - 0.05:
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


def _number(point: dict[str, Any], name: str) -> float:
    """A number or the string "inf"; NaN, which equals nothing, for anything else."""
    value = point.get(name)
    if value == "inf":
        return math.inf
    if type(value) is int and abs(value) < 2**53:
        return float(value)
    return value if type(value) is float else math.nan
