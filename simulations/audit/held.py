"""What can be checked by whoever holds one device, or one released adapter, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from client.device.agreement import AGREED, CAPS, LEDGER, PARTICIPATION
from client.device.folder import SETTINGS, DeviceFolder
from client.person.spending import Spending, read_spending
from client.serving.releases import FOLDER
from shared.errors import LedgerError, ModelError, PrivacyError
from shared.privacy.ledger.budget import records
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.ledger.promise import SECURE, in_words, read_metadata, read_promise
from shared.privacy.ledger.seal import digests
from shared.privacy.policy.signed import Policy, load_policy
from shared.published import MANIFEST, check_files, read_manifest
from simulations.audit.checks import record
from simulations.audit.checks.risk import FILES
from simulations.audit.findings import Finding, Verdict
from simulations.audit.outcome import Part
from simulations.audit.replay.same import arrays_of

OWNER = "a device's owner, who has its folder"
READER = "whoever reads a released adapter"

RECORD, CAP, AGREEMENT, RELEASE = "own record", "cap", "agreement", "release"
PROMISE, GENERATOR, BESIDE = "promise", "generator of noise", "nothing beside"

_CARRIED = {"settings", "promise"}


def records_of(state: Path) -> dict[str, str]:
    """SHA-256 of what an audit of a device rests on, by name."""
    kept = [each for name in (PARTICIPATION, LEDGER) for each in records(state / name)]
    released = [each for each in (state / FOLDER).rglob("*") if each.is_file()]
    return digests(state, [state / SETTINGS, state / AGREED, state / CAPS, *kept, *released])


def device_parts(state: Path) -> Iterator[Part]:
    """The parts of the audit of a device's folder.

    Raises
    ------
    ConfigError
        If it is no device's folder.
    """
    operator = DeviceFolder(state).owned.operator
    found = [_checked(RECORD, lambda: _record(state))]
    if found[0].verdict == "holds":
        spending = read_spending(state)
        found += [
            *_spent(spending),
            _checked(AGREEMENT, lambda: _agreed(state, operator, spending)),
        ]
    found.append(_checked(RELEASE, lambda: _installed(DeviceFolder(state))))
    about = "A device's own folder: its record, what it agreed to, what its owner allows."
    yield Part("device", about, findings=tuple(found))


def _checked(name: str, look: Callable[[], Finding]) -> Finding:
    """What a check finds; files that were altered violate it."""
    try:
        return replace(look(), name=name)
    except (LedgerError, PrivacyError) as error:
        return Finding(name, "violated", OWNER, str(error), required=True)


def _record(state: Path) -> Finding:
    kept = read_spending(state).kept
    entries = sum(len(each) for each in kept)
    if not kept:
        return Finding(
            RECORD, "not shown", OWNER, "This device took part in nothing", required=True
        )
    words = f"{entries} entries of {len(kept)} records are chained and unbroken"
    return Finding(RECORD, "holds", OWNER, words, {"entries": float(entries)}, required=True)


def _spent(spending: Spending) -> Iterator[Finding]:
    """Of every budget: what it costs by another accountant, and whether the cap was kept."""
    for budget in spending.budgets:
        told = budget.guarantee
        own = told.trust == "local"
        events = [
            entry.event
            for ledger in spending.kept
            if (ledger.header.guarantee.trust == "local") == own
            for entry in ledger.entries
        ]
        name = f"{record.EPSILON}, {told.unit}, {told.trust} trust"
        capped = replace(told, budget=budget.cap)
        yield replace(record.counted(name, events, capped), threat_model=OWNER)
        words = f"{budget.spent:.4g} was spent of {budget.cap:g} that the owner allows"
        kept = budget.spent <= budget.cap * (1 + 1e-9)
        verdict: Verdict = "holds" if kept else "violated"
        figures = {"spent": budget.spent, "cap": budget.cap}
        yield Finding(f"{CAP}, {told.unit}, {told.trust} trust", verdict, OWNER, words, figures)


def _agreed(state: Path, operator: str, spending: Spending) -> Finding:
    """Whether the last policy is the operator's, and its run took no more than it promises."""
    if spending.agreed is None:
        return Finding(AGREEMENT, "not shown", OWNER, "It agreed to nothing yet")
    policy = load_policy(state / AGREED, operator)
    for ledger in spending.kept:
        if ledger.header.settings == policy.settings and (more := _more(policy, ledger)):
            return Finding(AGREEMENT, "violated", OWNER, more)
    words = "The last policy is signed by the operator, and no more was recorded than it promises"
    return Finding(AGREEMENT, "holds", OWNER, words)


def _more(policy: Policy, ledger: Ledger) -> str:
    """What a record has more of than a policy promises; empty if nothing."""
    allowed = Counter[str]()
    for promise in policy.promises:
        if (promise.guarantee.trust == "local") == (ledger.header.guarantee.trust == "local"):
            allowed.update({each.kind: each.times for each in promise.releases})
    done = Counter(entry.release for entry in ledger.entries)
    over = [f"{kind}: {n} recorded, {allowed[kind]} promised" for kind, n in done.items()]
    return next(
        (each for each, kind in zip(over, done, strict=True) if done[kind] > allowed[kind]), ""
    )


def _installed(folder: DeviceFolder) -> Finding:
    release = folder.release
    if release is None:
        return Finding(RELEASE, "not shown", OWNER, "No release is installed")
    words = f"Release {release.version} is signed by the operator, its files are as signed"
    return Finding(RELEASE, "holds", OWNER, words)


def adapter_parts(file: Path, key: str | None) -> Iterator[Part]:
    """The parts of the audit of a released adapter.

    Parameters
    ----------
    file : Path
    key : str, optional
        The operator's, by which a release beside it must be signed.

    Raises
    ------
    ModelError
        If the file cannot be read, or its promise is none.
    """
    promise, carried = read_promise(file), read_metadata(file)
    noise = (promise or {}).get("noise")
    told = Finding(PROMISE, "not shown", READER, in_words(promise), required=True)
    found = [told]
    if promise is not None:
        words, fit = f"It says that its noise is {noise}", noise == SECURE
        if not fit:
            words += ": whoever knows settings and seed can take it off"
        verdict: Verdict = "holds" if fit else "not shown"
        found.append(Finding(GENERATOR, verdict, READER, words, required=True))
    more = sorted({*carried} - _CARRIED)
    words = f"It carries {', '.join(more)} too" if more else "It carries its settings and promise"
    try:
        arrays_of(file)
    except ModelError as error:
        more, words = [str(error)], str(error)
    found.append(Finding(BESIDE, "violated" if more else "holds", READER, words))
    found.append(_signed(file, key))
    yield Part("adapter", "One released file alone.", findings=tuple(found))


def _signed(file: Path, key: str | None) -> Finding:
    manifest = file.parent / MANIFEST
    if not manifest.is_file() or key is None:
        words = (
            "No signed release was given with it: name the operator's key, and a release's folder"
        )
        return Finding(RELEASE, "not shown", FILES, words)
    try:
        told = read_manifest(manifest.read_bytes(), key)
        check_files(told, file.parent)
    except PrivacyError as error:
        return Finding(RELEASE, "violated", FILES, str(error))
    return Finding(RELEASE, "holds", FILES, f"Release {told.version} is signed by the key named")
