"""What a device agreed to, and whether it takes part in a round: asked before anything is computed.

    1. the policy is signed by the operator whom the owner named, and holds now
    2. the request is one of this policy: settings, users, adapter, round, clipping norm
    3. the policy is what the settings make of it, sends nothing in clear that names items, and is
       no weaker than the one agreed last
    4. the owner's caps allow it: unit, trust, delta, pause, rounds a day, epsilon
    5. the participation is recorded, on disk, and only then answered

None of it needs the model but the adapter's digest: the rest is asked before one is built.

The state folder holds `agreement.json` (the policy that was accepted last: each is at least as
strong as those before), `caps.toml` (the owner's, see `shared.privacy.policy.caps`; made if
missing), `participation.jsonl` (a ledger of every participation that the server noises,
un-amplified: the server knows who took part) and `clock.json`. Where the device adds noise itself,
its ledger is `ledger.jsonl`, written by `shared.privacy.ledger.budget`. A run of other settings has
a ledger of its own beside them, `participation-2.jsonl` or `ledger-2.jsonl` and so on: how often a
device takes part is agreed for a run, what it costs is counted over all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from dp_accounting import DpEvent

from client.device.clock import Days
from client.device.covered import mismatches, policy_of
from shared.config import ExperimentConfig
from shared.errors import ConfigError, Declined, PrivacyError
from shared.files import FolderLock, make_folder, write_atomically
from shared.privacy.accounting.accountant import epsilon
from shared.privacy.contribution.units import sums_securely
from shared.privacy.guarantee import HISTOGRAM_IN_CLEAR, Guarantee
from shared.privacy.ledger.budget import record_of, records
from shared.privacy.ledger.ledger import Ledger, LedgerEntry, LedgerHeader
from shared.privacy.policy.caps import Caps, load_caps, write_safe_caps
from shared.privacy.policy.issue import promises
from shared.privacy.policy.order import restates, weaknesses
from shared.privacy.policy.signed import (
    Policy,
    Promise,
    PromisedRelease,
    policy_text,
    read_policy,
)
from shared.request import Request

CAPS, AGREED, LEDGER, PARTICIPATION = (
    "caps.toml",
    "agreement.json",
    "ledger.jsonl",
    "participation.jsonl",
)
_OTHER_RECORD = (
    "the policy hides another unit, or has its noise elsewhere, than this device's records count; "
    "a new state folder begins new ones"
)
_LOG = logging.getLogger("starling")
WHOLE = "training"  # all rounds of correlated noise, one mechanism that is counted once


class Agreement:
    """The gate of one device.

    Parameters
    ----------
    state : Path
        The device's folder, of its own; made if missing.
    operator : str
        The operator's public key as the device's owner gave it.
    days : Days, optional
        The clock.
    derive : callable
        What settings and a number of users promise: another than ours only in a rehearsal
        without the settings.
    """

    def __init__(
        self,
        state: Path,
        operator: str,
        days: Days | None = None,
        derive: Callable[[ExperimentConfig, int], tuple[Promise, ...]] = promises,
    ) -> None:
        self._state = state
        self._operator = operator
        self._days = days or Days(state)
        self._derive = derive
        self._derived: dict[tuple[str, int], tuple[Promise, ...]] = {}

    @contextmanager
    def admitted(self, request: Request, schema: str) -> Iterator[None]:
        """Around the answer, if the device takes part: the participation is on record before it.

        Where the device keeps a ledger of its own, one at a time: two messages at once must not
        both see room for one, and a device that adds noise records it only as it draws the noise.

        Parameters
        ----------
        request : Request
        schema : str
            Digest of this device's own adapter.

        Raises
        ------
        Declined
            With the reason in words, for the owner; nothing was recorded but the time.
        ConfigError, LedgerError
            If the state folder cannot be used.
        """
        with self._locked():
            policy = self._accepted(request, schema)
            self._check_spending(request, policy)
            self._record(request, policy)
            if any(promise.guarantee.trust == "local" for promise in policy.promises):
                yield
                return
        yield

    def foresee(self, request: Request) -> None:
        """As `admitted`, without the adapter's digest or a record: before a model is built.

        Which model that is, a file of the server's choice, only someone may say whose policy holds.
        """
        with self._locked():
            self._check_spending(request, self._accepted(request, None))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """The state folder, for this process alone; the time is seen, whatever is answered."""
        try:
            make_folder(self._state)
        except OSError as error:
            raise ConfigError(f"{self._state}: cannot be made ({error.strerror})") from None
        with FolderLock(self._state) as lock:
            lock.take(wait=True)
            self._days.see()
            if write_safe_caps(self._state / CAPS):
                safe = Caps().in_words()
                _LOG.warning("%s: there was none; written, with: %s", self._state / CAPS, safe)
            yield

    def _accepted(self, request: Request, schema: str | None) -> Policy:
        """Steps 1 to 3, and what of step 4 needs no ledger."""
        for why, word in self._objections(request, schema):
            raise self._declined(request, why, word)
        return self._derived_policy(request)

    def _objections(self, request: Request, schema: str | None) -> Iterator[tuple[str, str]]:
        """What speaks against a request, each with the server's word; later ones as if it held."""
        time, back = self._days.time(), self._days.went_back()
        try:
            policy = policy_of(request, self._operator)
        except (ConfigError, PrivacyError) as error:
            yield f"{error}{back}", "policy"
            with self._declining(request):
                policy = policy_of(request, None)
        for why in mismatches(request, policy, time, schema):
            yield f"{why}{back}", "policy"
        promised = self._own(request)
        if restates(policy, promised):
            yield "the policy's promises are not what its settings give", "policy"
        agreed = self._agreed()
        if agreed is not None and request.policy != agreed:
            for why in _departures(policy, read_policy(agreed, None)):
                yield why, "policy"
        for why in self._caps().objections(policy):
            yield why, "owner"
        if bare := in_clear(request.release, promised):
            yield bare, "policy"

    def refusals(self, request: Request, schema: str) -> list[str]:
        """All that speaks against taking part, where `admitted` stops at the first; no record.

        Whose policy it is may be among the reasons: the others are about what it says. Of what the
        records say there is the first only.
        """
        found = []
        try:
            for why, _ in self._objections(request, schema):
                found.append(str(self._declined(request, why)))
            self._check_spending(request, self._derived_policy(request))
        except Declined as error:
            found.append(str(error))
        return found

    def _derived_policy(self, request: Request) -> Policy:
        """What counts and is recorded is what the device itself derives."""
        return replace(read_policy(request.policy, None), promises=self._own(request))

    def _own(self, request: Request) -> tuple[Promise, ...]:
        """What the settings of a request promise; a search, so the last one found is kept."""
        about = (request.settings, request.users)
        if about not in self._derived:
            with self._declining(request):
                self._derived = {about: self._derive(request.config, request.users)}
        return self._derived[about]

    def _agreed(self) -> str | None:
        file = self._state / AGREED
        return policy_text(file) if file.exists() else None

    def _caps(self) -> Caps:
        return load_caps(self._state / CAPS)

    def _check_spending(self, request: Request, policy: Policy) -> None:
        """What of step 4 needs the records."""
        caps, days = self._caps(), self._days
        if days.rounds() >= caps.rounds_per_day:
            raise self._declined(
                request,
                f"its owner allows {caps.rounds_per_day:g} rounds a day, and so many were answered "
                f"on {days.time():%Y-%m-%d} (UTC){days.went_back()}",
            )
        if request.release == "ranks":  # no promise covers them, whoever asks
            raise self._declined(request, "exact ranks leave no device")
        for promise in policy.promises:
            release = promise.of(request.release)
            if release is None:
                why = f"the policy promises nothing about {request.release!r}"
                raise self._declined(request, why, "policy")
            self._check_promise(request, promise, release, caps)

    def _check_promise(
        self, request: Request, promise: Promise, release: PromisedRelease, caps: Caps
    ) -> None:
        """The limits of this run, and what all runs cost at the owner's delta."""
        run, recorded = self._records(request, promise)
        before = [entry.round for entry in run if entry.release == release.kind]
        if len(before) >= release.times:
            raise self._declined(request, "has taken part as often as agreed")
        if request.round_number in before and sums_securely(request.config, simulated=False):
            why = "is in a sum of that already: two of them would differ by what one device added"
            raise self._declined(request, why)
        if (
            before
            and release.separation
            and request.round_number - max(before) < release.separation
        ):
            raise self._declined(
                request,
                f"took part in round {max(before)}, and agreed to {release.separation} rounds from "
                "one to the next",
            )
        told = promise.guarantee.at(caps.delta)
        due = [one.cost for one in _due(promise, release, run)]
        with self._declining(request, "owner"):
            after = _cost([*recorded, *due], told)
        if after > caps.epsilon:
            raise self._declined(
                request,
                f"it would bring this device from {told.unit}-level epsilon "
                f"{_cost(recorded, told):.3g} to {after:.3g} at delta {told.delta:g}, over its "
                f"owner's cap of {caps.epsilon:g}",
            )

    def _records(
        self, request: Request, promise: Promise
    ) -> tuple[Sequence[LedgerEntry], list[DpEvent]]:
        """What was recorded of this run, and of every run: all that counts towards a promise."""
        kept = [Ledger.recover(each) for each in records(self._file(promise))]
        told = promise.guarantee
        for ledger in kept:
            header = ledger.header.guarantee
            if (header.unit, header.relation) != (told.unit, told.relation):
                raise self._declined(request, _OTHER_RECORD)
        run = (each.entries for each in kept if each.header.settings == request.settings)
        return next(run, ()), [entry.event for ledger in kept for entry in ledger.entries]

    def _file(self, promise: Promise) -> Path:
        return self._state / (LEDGER if promise.guarantee.trust == "local" else PARTICIPATION)

    def record(self, promise: Promise, policy: Policy) -> Ledger:
        """The ledger of a run that counts towards a promise; begun if there is none."""
        file = record_of(self._file(promise), policy.settings)
        if file.exists():
            return Ledger.recover(file)
        # The owner's cap may change and is checked before; a budget in the header could not.
        header = LedgerHeader(promise.guarantee.knowing_the_rounds(), policy.settings)
        return Ledger.create(file, header)

    def spent(self, promise: Promise) -> tuple[float, float]:
        """Epsilon of all that counts towards a promise, and the owner's delta that it is at.

        Nothing is written: a line that a crash cut off is passed over, as the device will.
        """
        kept = [Ledger.recover(each, repair=False) for each in records(self._file(promise))]
        told = promise.guarantee.at(self._caps().delta)
        return _cost([entry.event for ledger in kept for entry in ledger.entries], told), told.delta

    def _record(self, request: Request, policy: Policy) -> None:
        """Step 5. A crash between these may over-count, never under-count."""
        if self._agreed() != request.policy:
            write_atomically(self._state / AGREED, request.policy)
        self._days.count()
        for promise in policy.promises:
            release = promise.of(request.release)
            if promise.guarantee.trust == "local" or release is None:
                continue  # the device records it as it draws its noise
            ledger = self.record(promise, policy)
            for one in _due(promise, release, ledger.entries):
                ledger.append(request.round_number, one.kind, one.cost)

    @contextmanager
    def _declining(self, request: Request, word: str = "policy") -> Iterator[None]:
        """Of what was asked: out of the range in which anyone can say what it costs."""
        try:
            yield
        except (ConfigError, PrivacyError) as error:
            raise self._declined(request, str(error), word) from None

    @staticmethod
    def _declined(request: Request, why: str, word: str = "owner") -> Declined:
        return Declined(f"declined round {request.round_number}: {why}", word)


def in_clear(release: str, promised: Sequence[Promise]) -> str:
    """Why what is asked for would name a person's items to the server; empty if it does not.

    Parameters
    ----------
    release : str
        What is asked for.
    promised : sequence of Promise
    """
    noised = any(promise.guarantee.trust == "local" for promise in promised)
    bare = any(promise.guarantee.in_clear for promise in promised) and not noised
    return HISTOGRAM_IN_CLEAR if bare and release in ("histogram", "moments") else ""


def _due(
    promise: Promise, release: PromisedRelease, entries: Sequence[LedgerEntry]
) -> list[PromisedRelease]:
    """What a participation puts on record: under correlated noise with the first all of them."""
    whole = promise.of(WHOLE)
    first = release.kind == "update" and not any(entry.release == WHOLE for entry in entries)
    return [whole, release] if whole and first else [release]


def _cost(events: Sequence[DpEvent], told: Guarantee) -> float:
    return epsilon([(event, 1) for event in events], *told.counted)


def _departures(policy: Policy, agreed: Policy) -> Iterator[str]:
    """What a policy takes back of the one agreed last."""
    for weaker in weaknesses(policy, agreed):
        yield f"the policy is weaker than the one agreed: {weaker}"
    if _recorded(policy) != _recorded(agreed):
        # Spent under one unit or placement, it would be missing in the record of another.
        yield _OTHER_RECORD


def _recorded(policy: Policy) -> set[tuple[str | int, ...]]:
    kept = [promise.guarantee for promise in policy.promises]
    return {(one.unit, one.trust, one.relation, one.group) for one in kept}
