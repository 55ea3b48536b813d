"""The ledgers of many devices as one claim: the same guarantee for each, over disjoint data."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dp_accounting import DpEvent

from shared.errors import LedgerError
from shared.privacy.chain import LedgerEntry, LedgerHeader
from shared.privacy.ledger import Ledger

_PROMISE = ("unit", "relation", "trust", "adversary", "delta", "policy", "budget")


class DeviceLedgers:
    """Every device's own ledger in one folder; made by `open`.

    Devices hold disjoint examples, so the guarantee of all of them together is that of the device
    that spent the most (parallel composition): epsilons are compared, never added.

    References
    ----------
    McSherry. Privacy Integrated Queries. SIGMOD 2009. Theorem 4.
    """

    def __init__(self, folder: Path, ledgers: list[Ledger]) -> None:
        self._folder = folder
        self._ledgers = ledgers

    @classmethod
    def open(cls, folder: Path) -> DeviceLedgers:
        """All ledgers of a folder, every line of them checked.

        Raises
        ------
        LedgerError
            If there is none, one is not what was written, or two promise different things.
        """
        ledgers = [Ledger.open(file) for file in sorted(folder.glob("*.jsonl"))]
        if not ledgers:
            raise LedgerError(f"{folder}: no device ledger is there")
        promises = {tuple(getattr(at.header, name) for name in _PROMISE) for at in ledgers}
        if len(promises) > 1:
            raise LedgerError(f"{folder}: the devices' ledgers promise different things")
        return cls(folder, ledgers)

    @property
    def name(self) -> str:
        """The folder below the run's own, such as `devices/eps-8-seed-0`."""
        return f"{self._folder.parent.name}/{self._folder.name}"

    @property
    def header(self) -> LedgerHeader:
        """What each device promises; identity and time of creation are the first one's."""
        return self._ledgers[0].header

    @property
    def head(self) -> str:
        """SHA-256 (hex) over every device's name, number of entries and last hash."""
        lines = [f"{at.name} {len(at)} {at.head}\n" for at in self._ledgers]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def __len__(self) -> int:
        """Entries of all devices together."""
        return sum(len(ledger) for ledger in self._ledgers)

    @property
    def devices(self) -> int:
        """How many devices there are."""
        return len(self._ledgers)

    def records(self) -> list[tuple[LedgerEntry, ...]]:
        """The entries of each device that differ from every other's in what they record."""
        distinct = {
            tuple((entry.round, entry.release, entry.event) for entry in ledger.entries): ledger
            for ledger in self._ledgers
        }
        return [ledger.entries for ledger in distinct.values()]

    def histories(self) -> list[list[tuple[DpEvent, int]]]:
        """What was released, one history for each way of having taken part."""
        events: dict[tuple[DpEvent, ...], None] = {}
        for entries in self.records():
            events[tuple(entry.event for entry in entries)] = None
        return [[(event, 1) for event in history] for history in events]

    def epsilon(self, delta: float | None = None) -> float:
        """That of the device that spent the most, by PLD."""
        return max(ledger.epsilon(delta) for ledger in self._ledgers)
