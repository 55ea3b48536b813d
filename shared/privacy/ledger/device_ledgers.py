"""The ledgers of many devices as one claim: the same guarantee for each, over disjoint data."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from functools import cached_property
from pathlib import Path

from dp_accounting import DpEvent

from shared.errors import LedgerError
from shared.privacy.accounting.accountant import epsilon
from shared.privacy.accounting.steps import SkellamStep, Step, Steps, steps_of
from shared.privacy.ledger.chain import LedgerEntry, LedgerHeader
from shared.privacy.ledger.ledger import Ledger


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
        ledgers = [Ledger.open(file) for file in device_files(folder)]
        if not ledgers:
            raise LedgerError(f"{folder}: no device ledger is there")
        if len({ledger.header.promise for ledger in ledgers}) > 1:
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

    @cached_property
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

    def rounds(self) -> dict[str, list[tuple[str, int]]]:
        """Release and round of every entry, by the name of the device's file."""
        return {
            ledger.name: [(entry.release, entry.round) for entry in ledger.entries]
            for ledger in self._ledgers
        }

    def records(self) -> list[tuple[LedgerEntry, ...]]:
        """The entries of each device that differ from every other's in what they record."""
        return list(self._records)

    @cached_property
    def _records(self) -> list[tuple[LedgerEntry, ...]]:
        # In words: composed events cannot be compared by hash.
        distinct = {
            tuple((entry.round, entry.release, repr(entry.event)) for entry in ledger.entries): (
                ledger.entries
            )
            for ledger in self._ledgers
        }
        return list(distinct.values())

    def histories(self) -> list[list[tuple[DpEvent, int]]]:
        """What was released, by the devices that released the most.

        A device whose releases are among those of another spent no more, and is left out.

        Raises
        ------
        ConfigError
            For a kind of release that no accountant here covers.
        """
        return [[(step.event(), step.times) for step in steps] for steps in self._most]

    @cached_property
    def _most(self) -> list[Steps]:
        return [steps for steps, own in self._spent if not any(own < at for _, at in self._spent)]

    @cached_property
    def _least(self) -> list[Steps]:
        return [steps for steps, own in self._spent if not any(own > at for _, at in self._spent)]

    @cached_property
    def _spent(self) -> list[tuple[Steps, Counter[Step | SkellamStep]]]:
        """Each history once, with how often it holds each release."""
        relation = self.header.guarantee.relation
        histories = {
            steps_of([(entry.event, 1) for entry in entries], relation) for entries in self._records
        }
        return [
            (steps, Counter({step._replace(times=1): step.times for step in steps}))
            for steps in sorted(histories)
        ]

    def epsilon(self, delta: float | None = None) -> float:
        """That of the device that spent the most, by PLD."""
        counted = self.header.guarantee.at(delta).counted
        return max(epsilon(history, *counted) for history in self.histories())

    def least(self, delta: float | None = None) -> float:
        """That of the device that spent the least, by PLD: they differ in how often they took part.

        What anyone else is told is `epsilon`. Whose ledger is the cheapest is a fact about people.
        """
        counted = self.header.guarantee.at(delta).counted
        return min(
            epsilon([(step.event(), step.times) for step in steps], *counted)
            for steps in self._least
        )


def device_files(folder: Path) -> list[Path]:
    """The ledgers in a folder of devices, in the order of their names.

    Raises
    ------
    LedgerError
        If the folder or one of them is a link or no plain file, or has a name that the seal
        could be misread by.
    """
    try:
        if folder.is_symlink():
            raise LedgerError(
                f"{folder}: is a link; the devices' ledgers must lie in the run's folder"
            )
        found = [entry for entry in os.scandir(folder) if entry.name.endswith(".jsonl")]
    except OSError as error:
        raise LedgerError(f"{folder}: cannot be read: {error.strerror}") from None
    for entry in found:
        if not re.fullmatch(r"[\w.-]+", entry.name) or not entry.is_file(follow_symlinks=False):
            raise LedgerError(
                f"{folder}: {entry.name!r} is not the plain file of a device's ledger"
            )
    return [folder / name for name in sorted(entry.name for entry in found)]
