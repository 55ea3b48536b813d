"""A device's own record of what its messages cost, kept across rounds, and the guard of it.

The ledger is the one that a server keeps; what differs is whose it is. Written and on disk before
a message is made, so a crash may over-count, never under-count.
"""

from __future__ import annotations

import re
from pathlib import Path

from shared.errors import BudgetExceeded, ConfigError, Declined
from shared.files import make_folder
from shared.privacy.ledger.chain import LedgerHeader
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.mechanisms.source import NoiseSource
from shared.privacy.plan.plan import Plan


def records(file: Path) -> list[Path]:
    """A device's ledgers of one kind, one a run, oldest first: NAME.jsonl, NAME-2.jsonl, ..."""
    numbered = re.compile(rf"{re.escape(file.stem)}(?:-([0-9]+))?{re.escape(file.suffix)}")
    found = [
        (int(match[1] or 1), each)
        for each in (file.parent.iterdir() if file.parent.is_dir() else ())
        if (match := numbered.fullmatch(each.name))
    ]
    return [each for _, each in sorted(found)]


def record_of(file: Path, settings: str) -> Path:
    """The one of these ledgers that belongs to a run, or where it will be.

    Parameters
    ----------
    file : Path
        NAME.jsonl.
    settings : str
        Hash of the run's settings.

    Raises
    ------
    LedgerError
        If one was altered or cannot be read.
    """
    kept = records(file)
    for each in kept:
        if Ledger.recover(each).header.settings == settings:
            return each
    if not kept:
        return file
    last = kept[-1].stem.removeprefix(file.stem).lstrip("-") or "1"
    return file.with_name(f"{file.stem}-{int(last) + 1}{file.suffix}")


class DeviceBudget:
    """The ledger of one device under one plan.

    Parameters
    ----------
    file : Path
        Created, with its folder, or continued.
    plan : Plan
        From `shared.privacy.plan.plan.device_plan`.
    settings : str
        Their hash.
    context : tuple of (str or int), optional
        For a simulated device: seed and name, from which its noise follows. None on a real device:
        the operating system's generator.

    Raises
    ------
    ConfigError
        If the ledger was opened under other settings.
    LedgerError
        If it was altered or cannot be written.
    """

    def __init__(
        self, file: Path, plan: Plan, settings: str, context: tuple[int, str | int] | None
    ) -> None:
        self._plan = plan
        self._context = context
        try:
            make_folder(file.parent)
        except OSError as error:
            raise ConfigError(f"{file.parent}: cannot be made ({error.strerror})") from None
        agreed = LedgerHeader(plan.guarantee, settings)
        if file.exists():
            self.ledger = Ledger.recover(file)
            if self.ledger.header.promise != agreed.promise:
                raise ConfigError(
                    f"{file}: this device's ledger belongs to other settings or another number of "
                    "users; what was spent under them would not be counted. A state folder per "
                    "agreement is a budget per agreement: they add up"
                )
        else:
            self.ledger = Ledger.create(file, agreed)

    def spend_update(self, round_number: int) -> NoiseSource:
        """Record one participation, and return the noise for its sums.

        Raises
        ------
        Declined
            If it does not fit into the budget any more. Nothing was recorded.
        """
        return self._spend("update", round_number)

    def spend_histogram(self) -> NoiseSource:
        """Record the histogram, and return its noise; errors as for `spend_update`."""
        return self._spend("histogram", 0)

    def _spend(self, release: str, round_number: int) -> NoiseSource:
        promised, planned = self._plan.guarantee, self._plan.of(release)
        if planned is None:
            raise Declined(f"declined: a {release} is not part of what was agreed", "policy")
        event = planned.event
        # A simulated device that is asked again after a crash gives the same message again, which
        # costs nothing; on a real one the noise is fresh, and so is the cost.
        replayed = self._context is not None and self.ledger.holds(round_number, release, event)
        if not replayed:
            # Epsilon alone would let a device spend a histogram's share on one round more.
            recorded = sum(entry.release == release for entry in self.ledger.entries)
            if recorded >= planned.times:
                raise Declined(f"declined round {round_number}: has taken part as often as agreed")
            try:
                self.ledger.append(round_number, release, event)  # on disk when this returns
            except BudgetExceeded:
                raise Declined(
                    f"declined round {round_number}: the device's budget of epsilon "
                    f"{promised.budget:g} at delta {promised.delta:g} does not cover it"
                ) from None
        if self._context is None:
            return NoiseSource.secure()
        seed, name = self._context
        settings = self.ledger.header.settings
        return NoiseSource.seeded(seed, settings, "device", name, release, round_number)
