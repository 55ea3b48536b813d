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

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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

CAPS, AGREED, LEDGER, PARTICIPATION = (
    "caps.toml",
    "agreement.json",
    "ledger.jsonl",
    "participation.jsonl",
)
WHOLE = "training"  # all rounds of correlated noise, one mechanism that is counted once


@dataclass(frozen=True)
class Ask:
    """One request, as the agreement sees it.

    Attributes
    ----------
    release : str
        What is asked for: "update", "histogram", ... or "ranks", which no promise covers.
    round_number : int
    users : int
    settings : str
        Hash of the settings that came with the request.
    schema : str
        Digest of this device's own adapter; has no meaning in `foresee`.
    policy : str
        The signed text that came with the request.
    """

    release: str
    round_number: int
    users: int
    settings: str
    schema: str
    policy: str


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

    def admit(self, ask: Ask, config: ExperimentConfig) -> None:
        """Return if the device takes part, with the participation on record.

        Parameters
        ----------
        ask : Ask
        config : ExperimentConfig
            The settings that came with the request.

        Raises
        ------
        Declined
            With the reason in words; nothing was recorded but the time.
        ConfigError, LedgerError
            If the state folder cannot be used.
        """
        with self.admitted(ask, config):
            pass

    @contextmanager
    def admitted(self, ask: Ask, config: ExperimentConfig) -> Iterator[None]:
        """As `admit`, around the answer: where the device keeps a ledger of its own, one at a time.

        Two messages at once must not both see room for one, and a device that adds noise records
        it only as it draws the noise.
        """
        with self._locked():
            policy = self._accepted(ask, config)
            self._check_spending(ask, policy)
            self._record(ask, policy)
            if any(promise.guarantee.trust == "local" for promise in policy.promises):
                yield
                return
        yield

    def foresee(self, ask: Ask, config: ExperimentConfig) -> None:
        """As `admit`, without the adapter's digest and without a record: before a model is built.

        Which model that is, a file of the server's choice, only someone may say whose policy holds.
        """
        with self._locked():
            self._check_spending(ask, self._accepted(ask, config, built=False))

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

    def _accepted(self, ask: Ask, config: ExperimentConfig, *, built: bool = True) -> Policy:
        """Steps 1 to 3, and what of step 4 needs no ledger."""
        try:
            policy = check_request(ask, self._operator, self._days.time(), built=built)
        except (ConfigError, PrivacyError) as error:
            raise self._declined(ask, f"{error}{self._days.went_back()}") from None
        agreed = self._agreed()
        if ask.policy != agreed:
            self._compare(ask, config, policy, agreed)
        objections = self._caps().objections(policy)
        if objections:
            raise self._declined(ask, objections[0])
        return policy

    def _compare(
        self, ask: Ask, config: ExperimentConfig, policy: Policy, agreed: str | None
    ) -> None:
        if policy.promises != self._derive(config, ask.users):
            raise self._declined(ask, "the policy's promises are not what its settings give")
        if agreed is None:
            return
        before = read_policy(agreed, None)
        weaker = weaknesses(policy, before)
        if weaker:
            raise self._declined(ask, f"the policy is weaker than the one agreed: {weaker[0]}")
        if _recorded(policy) != _recorded(before):
            # Spent under one unit or placement, it would be missing in the record of another.
            raise self._declined(
                ask,
                "the policy hides another unit, or has its noise elsewhere, than this device's "
                "records count; a new state folder begins new ones",
            )

    def _agreed(self) -> str | None:
        file = self._state / AGREED
        return policy_text(file) if file.exists() else None

    def _caps(self) -> Caps:
        return load_caps(self._state / CAPS)

    def _check_spending(self, ask: Ask, policy: Policy) -> None:
        """What of step 4 needs the records."""
        caps, days = self._caps(), self._days
        if caps.rounds_per_day is not None and days.rounds() >= caps.rounds_per_day:
            raise self._declined(
                ask,
                f"its owner allows {caps.rounds_per_day} rounds a day, and so many were answered "
                f"on {days.time():%Y-%m-%d} (UTC){days.went_back()}",
            )
        if ask.release == "ranks":
            return  # no promise covers them: the owner's `evaluator` and the day's count do
        for promise in policy.promises:
            release = promise.of(ask.release)
            if release is None:
                raise self._declined(ask, f"the policy promises nothing about {ask.release!r}")
            self._check_promise(ask, promise, release, caps)

    def _check_promise(
        self, ask: Ask, promise: Promise, release: PromisedRelease, caps: Caps
    ) -> None:
        ledger = self._ledger(ask, promise)
        entries = ledger.entries if ledger else ()
        before = [entry.round for entry in entries if entry.release == release.kind]
        if len(before) >= release.times:
            raise self._declined(ask, "has taken part as often as agreed")
        if before and release.separation and ask.round_number - max(before) < release.separation:
            raise self._declined(
                ask,
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
                ask,
                f"it would bring this device from {told.unit}-level epsilon {spent:.3g} to "
                f"{after:.3g} at delta {told.delta:g}, over its owner's cap of {caps.epsilon:g}",
            )

    def _ledger(self, ask: Ask, promise: Promise) -> Ledger | None:
        """The record that counts towards a promise; None if nothing was recorded yet."""
        file = self._file(promise)
        if not file.exists():
            return None
        ledger = Ledger.recover(file)
        if promise.guarantee.trust == "local" and ledger.header.settings != ask.settings:
            raise self._declined(ask, "this device's ledger belongs to other settings")
        if promise.of(WHOLE) and ledger.header.settings != ask.settings:
            # Recorded once, for this matrix and so many participations; another matrix may make
            # one participation cost more.
            raise self._declined(
                ask,
                "under correlated noise this device's record is about other settings, and what a "
                "participation costs rests on them; a new state folder begins a new one",
            )
        return ledger

    def _file(self, promise: Promise) -> Path:
        return self._state / (LEDGER if promise.guarantee.trust == "local" else PARTICIPATION)

    def _record(self, ask: Ask, policy: Policy) -> None:
        """Step 5. A crash between these may over-count, never under-count."""
        if ask.release != "ranks" and self._agreed() is None:
            write_atomically(self._state / AGREED, ask.policy)
        self._days.count()
        for promise in policy.promises:
            release = promise.of(ask.release)
            if promise.guarantee.trust == "local" or release is None:
                continue  # the device records it as it draws its noise
            ledger = self._ledger(ask, promise)
            if ledger is None:
                ledger = Ledger.create(self._file(promise), self.header(promise, policy))
            for one in _due(promise, release, ledger.entries):
                ledger.append(ask.round_number, one.kind, one.cost)

    @staticmethod
    def header(promise: Promise, policy: Policy) -> LedgerHeader:
        """The first line of a record of participations under a promise."""
        # The owner's cap may change and is checked before; a budget in the header could not.
        return LedgerHeader(promise.guarantee.knowing_the_rounds(), policy.settings)

    @staticmethod
    def _declined(ask: Ask, why: str) -> Declined:
        return Declined(f"declined round {ask.round_number}: {why}")


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


def check_request(ask: Ask, operator: str | None, time: datetime, *, built: bool = True) -> Policy:
    """Steps 1 and 2: the policy of a request, if it is one, holds now, and covers the request.

    Parameters
    ----------
    ask : Ask
    operator : str or None
        See `shared.privacy.policy.signed.read_policy`.
    time : datetime
        Now, with its zone.
    built : bool
        Whether the device's adapter is known yet: its digest is compared only then.

    Raises
    ------
    ConfigError, PrivacyError
        In words.
    """
    if not ask.policy:
        raise PrivacyError("the request brings no policy")
    policy = read_policy(ask.policy, operator)
    if not policy.from_time <= time < policy.until_time:
        raise PrivacyError(
            f"the policy holds from {policy.valid_from} until {policy.valid_until}, and it is "
            f"{utc(time)}"
        )
    if policy.settings != ask.settings:
        raise PrivacyError("the settings asked for are not those of the policy")
    if policy.users != ask.users:
        raise PrivacyError(f"users = {ask.users}: the policy rests on {policy.users}")
    if built and policy.schema != ask.schema:
        raise PrivacyError("the policy is about another adapter than this device's")
    first = 1 if ask.release == "update" else 0
    if not first <= ask.round_number <= policy.rounds:
        raise PrivacyError(f"the policy has rounds {first} to {policy.rounds}")
    return policy
