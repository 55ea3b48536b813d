"""The only way from a sum to a released one: record, flush, then add noise.

Central trust: `Releases` sees sums without noise, and a device's guarantee rests on trusting it.
Where the noise comes in shares it sees noised sums, and they are recorded before anyone is asked.
Where each message is private, `AlreadyPrivate` passes their sums on: post-processing, free.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from dp_accounting import DpEvent

from shared.errors import ConfigError, LedgerError
from shared.privacy.ledger.ledger import Ledger, LedgerHeader
from shared.privacy.mechanisms.correlated import CorrelatedMechanism, CorrelatedNoise
from shared.privacy.mechanisms.distributed import SkellamMechanism
from shared.privacy.mechanisms.source import NoiseSource, kept_key
from shared.privacy.plan.plan import Plan, PlannedRelease

Vector = npt.NDArray[np.float64]


class Releasing(Protocol):
    """What a round needs to know of how sums become releases."""

    @property
    def private(self) -> bool:
        """Whether a guarantee is promised: nothing may be chosen by looking at exact metrics."""
        ...

    def is_spent(self, kind: str, round_number: int = 0) -> bool:
        """Whether this release of a round was recorded: not to be repeated with fresh noise."""
        ...

    def noise_multiplier(self, kind: str) -> float:
        """Noise multiplier of a kind of release, as whoever uses it needs to know it."""
        ...

    @property
    def last_round(self) -> int:
        """The last round whose update was recorded; 0 before the first."""
        ...

    def position(self) -> tuple[int, str]:
        """Length and head of the ledger, to be stored with a checkpoint."""
        ...

    def continues(self, entries: int, head: str) -> bool:
        """Whether the ledger begins with the one that had this `position`."""
        ...

    def shares(self, kind: str) -> SkellamMechanism | None:
        """The mechanism of a kind of release whose noise the devices add; else None."""
        ...

    def announce(self, kind: str, round_number: int) -> None:
        """Record a release whose noise the devices add, before they are asked for it."""
        ...

    def release(self, kind: str, total: Vector, round_number: int) -> Vector:
        """A sum over people as it may be released.

        Parameters
        ----------
        kind : str
            The ledger's word for it: "update" of a round, "histogram" before the first, ...
        total : float64 [size]
            The sum of clipped contributions.
        round_number : int
            >= 0.
        """
        ...


class AlreadyPrivate:
    """Sums of messages that are private on arrival: nothing to add, nothing to record."""

    private = True
    last_round = 0

    def is_spent(self, kind: str, round_number: int = 0) -> bool:
        """Nothing is spent here."""
        return False

    def noise_multiplier(self, kind: str) -> float:
        """Nobody adds any here."""
        return 0.0

    def position(self) -> tuple[int, str]:
        """No ledger: what the devices spent is on theirs."""
        return 0, ""

    def continues(self, entries: int, head: str) -> bool:
        """Whether the checkpoint was made without a ledger, too."""
        return (entries, head) == self.position()

    def shares(self, kind: str) -> SkellamMechanism | None:
        """None: every message has all its noise."""
        return None

    def announce(self, kind: str, round_number: int) -> None:
        """Nothing to record."""

    def release(self, kind: str, total: Vector, round_number: int) -> Vector:
        """As it came."""
        return total


class Releases:
    """Mechanisms, ledger and noise of one point.

    Parameters
    ----------
    plan : Plan
        Of the server's guarantee.
    settings : str
        Their hash.
    ledger_file : Path
        Created, or continued if it exists.
    seed : int or None
        Of a simulation: seeded noise, reproducible, worthless against an attacker. None takes the
        noise from the operating system's secure generator.
    noise_key : Path
        Where correlated noise keeps its key, without a seed.

    Raises
    ------
    ConfigError
        If the ledger was written under other settings.
    LedgerError
        If the ledger shows that correlated noise was used, and its key is lost.
    BudgetExceeded
        If what is still planned does not fit into the budget.
    """

    def __init__(
        self, plan: Plan, settings: str, ledger_file: Path, seed: int | None, noise_key: Path
    ) -> None:
        self._plan = plan
        self._seed = seed
        self.private = plan.guarantee.budget != float("inf")
        self.ledger = self._open(LedgerHeader(plan.guarantee, settings), ledger_file)
        self._rows = self._correlated(noise_key)

    def _open(self, header: LedgerHeader, file: Path) -> Ledger:
        if file.exists():
            ledger = Ledger.recover(file)
            if ledger.header.promise != header.promise:
                raise ConfigError(
                    f"{file}: was written under other settings, or for another number of users; "
                    "use another --out, or the old settings to resume"
                )
        else:
            ledger = Ledger.create(file, header)
        self._admit(ledger)
        return ledger

    def _admit(self, ledger: Ledger) -> None:
        """Check everything that is still to come against the budget before any of it happens."""
        recorded = Counter[str](entry.release for entry in ledger.entries)
        ledger.admit(
            (planned.kind, planned.event, max(planned.times - recorded[planned.kind], 0))
            for planned in self._plan.releases
        )

    def is_spent(self, kind: str, round_number: int = 0) -> bool:
        """Whether this release of a round was recorded: not to be repeated with fresh noise."""
        wanted = (kind, round_number)
        recorded = any((entry.release, entry.round) == wanted for entry in self.ledger.entries)
        return recorded and self._seed is None

    def noise_multiplier(self, kind: str) -> float:
        """Of a planned kind of release."""
        return self._plan.planned(kind).mechanism.noise_multiplier

    @property
    def last_round(self) -> int:
        """The last round whose update was recorded; 0 before the first."""
        rounds = [entry.round for entry in self.ledger.entries if entry.release == "update"]
        return max(rounds, default=0)

    def position(self) -> tuple[int, str]:
        """Length and head of the ledger."""
        return self.ledger.position()

    def continues(self, entries: int, head: str) -> bool:
        """Whether the ledger begins with the one that had this `position`."""
        return self.ledger.extends(entries, head)

    def shares(self, kind: str) -> SkellamMechanism | None:
        """The mechanism of a kind of release whose noise the devices add; else None."""
        planned = self._plan.of(kind)
        mechanism = planned.mechanism if planned else None
        return mechanism if isinstance(mechanism, SkellamMechanism) else None

    def announce(self, kind: str, round_number: int) -> None:
        """Record a release whose noise the devices add: the server has it as soon as they answer.

        Raises
        ------
        BudgetExceeded, LedgerError
            As `Ledger.append`: nobody may be asked then.
        """
        if self.shares(kind) is not None:
            self._record(self._plan.planned(kind), round_number)

    def release(self, kind: str, total: Vector, round_number: int) -> Vector:
        """The sum with its noise; on the ledger before the noise is drawn.

        Raises
        ------
        ConfigError
            For a kind that is not planned.
        BudgetExceeded, LedgerError
            As `Ledger.append`: nothing may be released then. LedgerError also for a round whose
            correlated noise may have been released already.
        """
        planned = self._plan.planned(kind)
        if self.shares(kind) is None:
            self._record(planned, round_number)
        elif not self.ledger.holds(round_number, kind, planned.event):
            raise LedgerError(f"{kind} of round {round_number}: summed before it was recorded")
        mechanism = planned.mechanism
        if self._rows is not None and isinstance(mechanism, CorrelatedMechanism):
            return mechanism.release(total, self._rows.row(round_number))
        return mechanism.release(total, self._noise(kind, round_number))

    def _record(self, planned: PlannedRelease, round_number: int) -> None:
        if not self._replayed(round_number, planned.kind, planned.event):
            if self._rows is not None and planned.kind == "update":
                self._rows.check(round_number)  # before an entry says that it was used
                self._before_row(round_number)
            self.ledger.append(round_number, planned.kind, planned.event)  # on disk on return

    def _replayed(self, round_number: int, kind: str, event: DpEvent) -> bool:
        # A simulation interrupted between ledger and checkpoint repeats the round with the same
        # cohort and the same seeded noise: the same value again, which costs nothing more. Fresh
        # noise would be a second release.
        return self._seed is not None and self.ledger.holds(round_number, kind, event)

    def _correlated(self, noise_key: Path) -> CorrelatedNoise | None:
        """The rows of correlated noise; None where the noise of updates is independent."""
        planned = self._plan.of("update")  # none where there are no rounds
        mechanism = planned.mechanism if planned else None
        if not isinstance(mechanism, CorrelatedMechanism):
            return None
        header, seed = self.ledger.header, self._seed
        if seed is not None:
            return CorrelatedNoise(
                mechanism.matrix, lambda row: NoiseSource.seeded(seed, header.settings, "row", row)
            )
        used = any(entry.release in ("training", "update") for entry in self.ledger.entries)
        key = kept_key(noise_key, header.identity, spent=used)
        return CorrelatedNoise(
            mechanism.matrix, lambda row: NoiseSource.kept(key, header.identity, "row", row)
        )

    def _before_row(self, round_number: int) -> None:
        """Count the whole training once; let no row serve two sums."""
        if round_number <= self.last_round:
            raise LedgerError(
                f"{self.ledger.path}: round {round_number} is recorded already; its noise must not "
                "be used for another sum"
            )
        if not any(entry.release == "training" for entry in self.ledger.entries):
            self.ledger.append(0, "training", self._plan.planned("training").event)

    def _noise(self, kind: str, round_number: int) -> NoiseSource:
        if self._seed is None:
            return NoiseSource.secure()
        # The settings are part of the key: two points of a sweep must not share a draw, or their
        # difference would be free of noise.
        return NoiseSource.seeded(self._seed, self.ledger.header.settings, kind, round_number)
