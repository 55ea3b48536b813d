"""What a device agreed to, and whether it takes part in a round: asked before anything is computed.

    1. the policy is signed by the operator whom the owner named, and holds now
    2. the request is one of this policy: settings, users, adapter, round
    3. the policy is what the settings make of it, and no weaker than the one agreed first
    4. the owner's caps allow it: unit, trust, pause, rounds a day, epsilon
    5. the participation is recorded, on disk, and only then answered

None of it needs the model but the adapter's digest: the rest is asked before one is built.

The state folder holds `agreement.json` (the policy that was accepted first), `caps.toml` (the
owner's, see `shared.privacy.policy.caps`), `participation.jsonl` (a ledger of every participation
that the server noises, un-amplified: the server knows who took part) and `clock.json`. Where the
device adds noise itself, its ledger is `ledger.jsonl`, written by `shared.privacy.ledger.budget`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from client.device.clock import Days
from shared.config import ExperimentConfig
from shared.errors import ConfigError, Declined, PrivacyError
from shared.files import FolderLock, make_folder, write_atomically
from shared.privacy.accounting.accountant import epsilon
from shared.privacy.ledger.ledger import Ledger, LedgerEntry, LedgerHeader
from shared.privacy.policy.caps import Caps, load_caps
from shared.privacy.policy.issue import promises
from shared.privacy.policy.order import weaknesses
from shared.privacy.policy.signed import (
    Policy,
    Promise,
    PromisedRelease,
    policy_text,
    read_policy,
    utc,
)
from shared.request import Request

CAPS, AGREED, LEDGER, PARTICIPATION = (
    "caps.toml",
    "agreement.json",
    "ledger.jsonl",
    "participation.jsonl",
)
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
            yield

    def _accepted(self, request: Request, schema: str | None) -> Policy:
        """Steps 1 to 3, and what of step 4 needs no ledger."""
        try:
            policy = check_request(request, self._operator, self._days.time(), schema)
        except (ConfigError, PrivacyError) as error:
            why = f"{error}{self._days.went_back()}"
            raise self._declined(request, why, "policy") from None
        agreed = self._agreed()
        if request.policy != agreed:
            self._compare(request, policy, agreed)
        objections = self._caps().objections(policy)
        if objections:
            raise self._declined(request, objections[0])
        return policy

    def _compare(self, request: Request, policy: Policy, agreed: str | None) -> None:
        if policy.promises != self._derive(request.config, request.users):
            why = "the policy's promises are not what its settings give"
            raise self._declined(request, why, "policy")
        if agreed is None:
            return
        before = read_policy(agreed, None)
        weaker = weaknesses(policy, before)
        if weaker:
            why = f"the policy is weaker than the one agreed: {weaker[0]}"
            raise self._declined(request, why, "policy")
        if _recorded(policy) != _recorded(before):
            # Spent under one unit or placement, it would be missing in the record of another.
            raise self._declined(
                request,
                "the policy hides another unit, or has its noise elsewhere, than this device's "
                "records count; a new state folder begins new ones",
                "policy",
            )

    def _agreed(self) -> str | None:
        file = self._state / AGREED
        return policy_text(file) if file.exists() else None

    def _caps(self) -> Caps:
        return load_caps(self._state / CAPS)

    def _check_spending(self, request: Request, policy: Policy) -> None:
        """What of step 4 needs the records."""
        caps, days = self._caps(), self._days
        if caps.rounds_per_day is not None and days.rounds() >= caps.rounds_per_day:
            raise self._declined(
                request,
                f"its owner allows {caps.rounds_per_day} rounds a day, and so many were answered "
                f"on {days.time():%Y-%m-%d} (UTC){days.went_back()}",
            )
        if request.release == "ranks":
            return  # no promise covers them: the owner's `evaluator` and the day's count do
        for promise in policy.promises:
            release = promise.of(request.release)
            if release is None:
                why = f"the policy promises nothing about {request.release!r}"
                raise self._declined(request, why, "policy")
            self._check_promise(request, promise, release, caps)

    def _check_promise(
        self, request: Request, promise: Promise, release: PromisedRelease, caps: Caps
    ) -> None:
        ledger = self._ledger(request, promise)
        entries = ledger.entries if ledger else ()
        before = [entry.round for entry in entries if entry.release == release.kind]
        if len(before) >= release.times:
            raise self._declined(request, "has taken part as often as agreed")
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
        if caps.epsilon is None:
            return
        events = [(entry.event, 1) for entry in entries]
        due = [(one.cost, 1) for one in _due(promise, release, entries)]
        told = promise.guarantee.at(caps.delta)
        after = epsilon([*events, *due], *told.counted)
        if after > caps.epsilon:
            spent = epsilon(events, *told.counted)
            raise self._declined(
                request,
                f"it would bring this device from {told.unit}-level epsilon {spent:.3g} to "
                f"{after:.3g} at delta {told.delta:g}, over its owner's cap of {caps.epsilon:g}",
            )

    def _ledger(self, request: Request, promise: Promise) -> Ledger | None:
        """The record that counts towards a promise; None if nothing was recorded yet."""
        file = self._file(promise)
        if not file.exists():
            return None
        ledger = Ledger.recover(file)
        if promise.guarantee.trust == "local" and ledger.header.settings != request.settings:
            raise self._declined(request, "this device's ledger belongs to other settings")
        if promise.of(WHOLE) and ledger.header.settings != request.settings:
            # Recorded once, for this matrix and so many participations; another matrix may make
            # one participation cost more.
            raise self._declined(
                request,
                "under correlated noise this device's record is about other settings, and what a "
                "participation costs rests on them; a new state folder begins a new one",
            )
        return ledger

    def _file(self, promise: Promise) -> Path:
        return self._state / (LEDGER if promise.guarantee.trust == "local" else PARTICIPATION)

    def _record(self, request: Request, policy: Policy) -> None:
        """Step 5. A crash between these may over-count, never under-count."""
        if request.release != "ranks" and self._agreed() is None:
            write_atomically(self._state / AGREED, request.policy)
        self._days.count()
        for promise in policy.promises:
            release = promise.of(request.release)
            if promise.guarantee.trust == "local" or release is None:
                continue  # the device records it as it draws its noise
            ledger = self._ledger(request, promise)
            if ledger is None:
                ledger = Ledger.create(self._file(promise), self.header(promise, policy))
            for one in _due(promise, release, ledger.entries):
                ledger.append(request.round_number, one.kind, one.cost)

    @staticmethod
    def header(promise: Promise, policy: Policy) -> LedgerHeader:
        """The first line of a record of participations under a promise."""
        # The owner's cap may change and is checked before; a budget in the header could not.
        return LedgerHeader(promise.guarantee.knowing_the_rounds(), policy.settings)

    @staticmethod
    def _declined(request: Request, why: str, word: str = "owner") -> Declined:
        return Declined(f"declined round {request.round_number}: {why}", word)


def _due(
    promise: Promise, release: PromisedRelease, entries: Sequence[LedgerEntry]
) -> list[PromisedRelease]:
    """What a participation puts on record: under correlated noise with the first all of them."""
    whole = promise.of(WHOLE)
    first = release.kind == "update" and not any(entry.release == WHOLE for entry in entries)
    return [whole, release] if whole and first else [release]


def _recorded(policy: Policy) -> set[tuple[str | int, ...]]:
    kept = [promise.guarantee for promise in policy.promises]
    return {(one.unit, one.trust, one.relation, one.group) for one in kept}


def check_request(
    request: Request, operator: str | None, time: datetime, schema: str | None
) -> Policy:
    """Steps 1 and 2: the policy of a request, if it is one, holds now, and covers the request.

    Parameters
    ----------
    request : Request
    operator : str or None
        See `shared.privacy.policy.signed.read_policy`.
    time : datetime
        Now, with its zone.
    schema : str or None
        Digest of the adapter here; None before a model is built.

    Raises
    ------
    ConfigError, PrivacyError
        In words.
    """
    if not request.policy:
        raise PrivacyError("the request brings no policy")
    policy = read_policy(request.policy, operator)
    if not policy.from_time <= time < policy.until_time:
        raise PrivacyError(
            f"the policy holds from {policy.valid_from} until {policy.valid_until}, and it is "
            f"{utc(time)}"
        )
    if policy.settings != request.settings:
        raise PrivacyError("the settings asked for are not those of the policy")
    if policy.users != request.users:
        raise PrivacyError(f"users = {request.users}: the policy rests on {policy.users}")
    if schema not in (None, policy.schema):
        raise PrivacyError("the policy is about another adapter than this device's")
    first = 1 if request.release == "update" else 0
    if not first <= request.round_number <= policy.rounds:
        raise PrivacyError(f"the policy has rounds {first} to {policy.rounds}")
    return policy


def operator_key(where: str, given: object) -> str:
    """The operator's public key as an owner gave it, 64 hexadecimal digits.

    Raises
    ------
    ConfigError
        For anything else, naming where it was given.
    """
    key = str(given).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", key):
        raise ConfigError(
            f"{where}: operator = {key!r}: expected the operator's public key, 64 hex digits, as "
            "the operator published it (starling policy key)"
        )
    return key
