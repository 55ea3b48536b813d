"""What a run hands on: every file sealed, promises those of the ledger, every metric labelled."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from shared.config import settings_hash
from shared.errors import ConfigError, ModelError, PrivacyError
from shared.metrics import NOT_RELEASED
from shared.privacy.ledger.promise import SECURE, SEEDED, promise_of, promise_text, read_promise
from shared.privacy.ledger.seal import file_problem, seal_problems, sealed_files
from shared.privacy.policy.issue import promises
from shared.privacy.policy.signed import policy_text, read_policy
from shared.run_files import RunFolder
from simulations.results import Point, Results, Stated
from simulations.verify.point import VerifyRow
from simulations.verify.terms import Expected

_SAME = 1e-4  # relative: of one accountant on two machines
_MEASURED = ("metrics", "validation", "history")


def check_artefacts(
    directory: Path, results: Results, unfinished: Sequence[str]
) -> tuple[list[str], list[str]]:
    """What was altered since it was sealed or is not sealed at all; and what merely is not yet.

    Parameters
    ----------
    directory : Path
        The run's folder.
    results : Results
    unfinished : sequence of str
        What the files of points are called that an interrupted run has not finished.
    """
    run = RunFolder(directory)
    problems = seal_problems(run.results, results.stated, directory)
    sealed = sealed_files(results.stated)
    named = {point.adapter for point in results.points}
    under = f"{run.adapters.name}/"
    problems += [
        f"{name!r}: sealed, and the adapter of no point"
        for name in sealed
        if name.startswith(under) and name not in named
    ]
    late = {str(at.relative_to(directory)) for at in run.handed_on()} - set(sealed)
    pending = set() if results.complete else {n for n in late if _is_pending(n, unfinished)}
    problems += [f"{name!r}: not sealed: nobody vouches for it" for name in sorted(late - pending)]
    notes = [f"{name}: not sealed yet" for name in sorted(pending)]
    notes += [f"{at.name}: not sealed, and no file of the run" for at in sorted(run.foreign())]
    return [*problems, *_label_problems(results)], notes


def _is_pending(name: str, unfinished: Sequence[str]) -> bool:
    """Whether a file is of a point, or of a part of the run, that is not finished."""
    base = Path(name).name
    return "/" not in name or any(base.startswith(f"{point}.") for point in unfinished)


def promise_reasons(
    directory: Path, results: Results, point: Point, expected: Expected, rows: Sequence[VerifyRow]
) -> list[str]:
    """Where adapter, policy or noise of a point do not say what its ledgers and settings do."""
    config, name, noise = expected.config, point.adapter, point.get("noise")
    reasons = []
    if noise not in (SEEDED, SECURE):
        reasons.append(f"noise = {str(noise)[:40]!r} claimed: expected {SEEDED!r} or {SECURE!r}")
    sealed = sealed_files(results.stated)
    if name not in sealed:
        return [*reasons, f"adapter = {name!r}: expected the name of a file that is sealed"]
    if config is None or not any(row.shown or row.ok for row in rows):
        return reasons  # why is among their own
    if file_problem(directory, name, sealed[name]):
        return reasons  # the seal's to say
    settings = settings_hash(config)
    kept = [
        (terms.guarantee, row.record)
        for terms, row in zip(expected.terms, rows, strict=False)
        if terms
    ]
    own = json.loads(promise_text(promise_of(kept, settings, seeded=noise == SEEDED)))
    try:
        carried = read_promise(directory / name)
    except ModelError as error:
        return [*reasons, str(error)]
    reasons += [f"{name}: {at}" for at in _differences("promise", carried, own)][:3]
    policy = f"{Path(name).stem}.policy.json"
    return reasons + [
        f"{at}: {found}"
        for at in sealed
        if Path(at).name == policy
        for found in _policy_problems(directory / at, expected, settings)
    ]


def _policy_problems(file: Path, expected: Expected, settings: str) -> list[str]:
    """Where what devices were promised is not what the settings give."""
    config = expected.config
    try:
        policy = read_policy(policy_text(file), None)
    except (ConfigError, PrivacyError) as error:
        return [str(error)]
    if config and (policy.settings, policy.users) != (settings, expected.users):
        return ["a policy of other settings or another number of users than the point's"]
    if config and policy.promises != promises(config, expected.users):
        return ["promises devices other than what the settings give"]
    return []


def _differences(where: str, stated: object, own: object) -> list[str]:
    """Where two JSON values differ; epsilons by more than two machines may."""
    if isinstance(stated, dict) and isinstance(own, dict):
        names = {**stated, **own}
        return [at for n in names for at in _differences(f"{where}.{n}", stated.get(n), own.get(n))]
    if isinstance(stated, list) and isinstance(own, list) and len(stated) == len(own):
        return [
            line
            for at, (one, two) in enumerate(zip(stated, own, strict=True))
            for line in _differences(f"{where}[{at}]", one, two)
        ]
    close = isinstance(stated, float) and isinstance(own, float)
    if stated == own or (
        close and math.isclose(float(str(stated)), float(str(own)), rel_tol=_SAME)
    ):
        return []
    return [f"{where} = {str(stated)[:80]!r}, ledger and settings give {str(own)[:80]!r}"]


def _label_problems(results: Results) -> list[str]:
    """What was measured without noise may carry one label only: no ledger covers it."""
    parts: dict[str, Stated] = {f"references.{k}": v for k, v in results.references.items()}
    for at, point in enumerate(results.points):
        beside = Stated(point.table("references"))
        parts |= {f"points[{at}]": point}
        parts |= {f"points[{at}].references.{n}": Stated(beside.table(n)) for n in beside.stated}
    return [
        f"{where}.metrics_status = {str(part.get('metrics_status'))[:60]!r} claimed, and no ledger "
        f"entry covers these figures: expected {NOT_RELEASED!r}"
        for where, part in parts.items()
        if any(name in part.stated for name in _MEASURED)
        and part.get("metrics_status") != NOT_RELEASED
    ]
