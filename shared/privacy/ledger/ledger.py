"""The ledger: what was released, written before it is, so that its cost can be recomputed.

Append-only and hash-chained, so that an edit, a removal or a swap of lines breaks it; that the end
was cut off or everything rewritten shows against the results, whose seal signs the last hash.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from dp_accounting import DpEvent

from shared.canonical import canonical_json
from shared.errors import BudgetExceeded, LedgerError
from shared.files import read_file, sync_folder, write_atomically
from shared.privacy.accounting.accountant import epsilon
from shared.privacy.accounting.events import event_to_json
from shared.privacy.accounting.steps import steps_of
from shared.privacy.ledger.chain import Chain, LedgerEntry, LedgerHeader, Release, check_release

__all__ = ["Ledger", "LedgerEntry", "LedgerHeader", "Release"]

_SLACK = 1e-6  # relative: two builds of the accountant's numerics may differ in the last digits


class Ledger:
    """An append-only record of releases, and the guard of their budget.

    Made by `Ledger.create`, `Ledger.open` or `Ledger.recover`. Not thread-safe; a second process
    that appends to the same file is noticed and refused.
    """

    def __init__(self, path: Path, chain: Chain) -> None:
        self._path = path
        self._chain = chain
        self._planned: Counter[tuple[str, str]] = Counter()

    @classmethod
    def create(cls, path: Path, header: LedgerHeader) -> Ledger:
        """A new ledger with its header on disk.

        Raises
        ------
        LedgerError
            If the file exists or cannot be written.
        """
        chain = Chain(str(path))
        line = chain.header_line(header)
        chain.add(line)
        try:
            if path.exists():
                raise FileExistsError(errno.EEXIST, "it exists already", str(path))
            write_atomically(path, line)  # a crash leaves no ledger rather than half a header
        except OSError as error:
            raise LedgerError(f"{path}: ledger cannot be created: {error.strerror}") from None
        return cls(path, chain)

    @classmethod
    def open(cls, path: Path) -> Ledger:
        """An existing ledger, every line of it checked.

        Raises
        ------
        LedgerError
            If it cannot be read or any line is not what was written, naming the line. A last line
            without its end, as a crash leaves it, is refused here too; see `recover`.
        """
        whole, torn = _read(path)
        if torn:
            raise LedgerError(
                f"{path}: line {len(whole) + 1} was cut off in writing; "
                "nothing was released for it, so resuming the run may drop it"
            )
        return cls(path, _with_header(_chained(path, whole)))

    @classmethod
    def recover(cls, path: Path, *, repair: bool = True) -> Ledger:
        """An existing ledger after a crash: as `open`, but a cut-off last line is repaired.

        `append` returns only after the complete line is on disk, and nothing is released before
        it returns. So a line without its end belongs to a release that did not happen and is
        dropped; if all but the line end was written, the entry is kept. A complete entry whose
        release did not happen counts. The record may thus over-count, never under-count.

        Parameters
        ----------
        path : Path
        repair : bool
            False leaves the file as it is: to be read only, as nothing can be appended then.

        Raises
        ------
        LedgerError
            As `open`, and if the file cannot be repaired.
        """
        whole, torn = _read(path)
        chain = _chained(path, whole)
        if torn:
            with contextlib.suppress(LedgerError):  # not a whole entry: never released
                chain.add(torn + b"\n")
                whole.append(torn + b"\n")
            _with_header(chain)
            if repair:
                _replace(path, b"".join(whole))
        return cls(path, _with_header(chain))

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self._path.name

    @property
    def header(self) -> LedgerHeader:
        """What the entries are counted towards."""
        return self._chain.header

    @property
    def entries(self) -> tuple[LedgerEntry, ...]:
        """All releases, oldest first."""
        return tuple(self._chain.entries)

    @property
    def head(self) -> str:
        """Hash of the last line: 64 hexadecimal digits that stand for the whole file."""
        return self._chain.head

    def __len__(self) -> int:
        return len(self._chain.entries)

    def records(self) -> list[tuple[LedgerEntry, ...]]:
        """All releases, as the one record that this ledger is."""
        return [self.entries]

    def histories(self) -> list[list[tuple[DpEvent, int]]]:
        """What was released, as the one history that accountants take."""
        return [[(entry.event, 1) for entry in self.entries]]

    def position(self) -> tuple[int, str]:
        """Number of entries and head, to be stored with a checkpoint."""
        return len(self), self.head

    def extends(self, entries: int, head: str) -> bool:
        """Whether this ledger begins with the one that had this `position`.

        False means that it was cut or rewritten since: a run must not resume on it.
        """
        heads = self._chain.heads[1:] if entries else self._chain.heads  # [0] is the header's
        return 0 <= entries <= len(self) and heads[max(entries - 1, 0)] == head

    def holds(self, round: int, release: str, event: DpEvent) -> bool:
        """Whether this release of this round is recorded already (after a crash and a resume)."""
        wanted = (round, release, event)
        return any((entry.round, entry.release, entry.event) == wanted for entry in self.entries)

    def epsilon(self, delta: float | None = None) -> float:
        """What all entries cost together, by PLD.

        Parameters
        ----------
        delta : float, optional
            In (0, 1). Default: the guarantee's.
        """
        return self._cost([entry.event for entry in self.entries], delta)

    def epsilon_after(self, round: int) -> float:
        """What all entries up to a round cost together, its own among them; as `epsilon`."""
        return self._cost([entry.event for entry in self.entries if entry.round <= round])

    def admit(self, planned: Iterable[tuple[str, DpEvent, int]]) -> float:
        """Check a whole plan against the budget at once, before any of it happens.

        Releases of an admitted plan are then appended without accounting anew. A new plan
        replaces what is left of an older one.

        Parameters
        ----------
        planned : iterable of (release, event, times)
            Everything that is still to be released under this ledger.

        Returns
        -------
        float
            Epsilon of the entries and the plan together.

        Raises
        ------
        BudgetExceeded
            If that is over the budget by more than one part in a million.
        """
        plan: Counter[tuple[str, str]] = Counter()
        events = [entry.event for entry in self.entries]
        for release, event, times in planned:
            plan[_key(release, event)] += times
            events += [event] * times
        self._check_budget(events, f"the planned {plan.total()} releases")
        self._planned = plan
        return self._cost(events)

    def append(self, round: int, release: str, event: DpEvent) -> None:
        """Record a release; when this returns the record is on disk. Release only then.

        Parameters
        ----------
        round : int
            >= 0.
        release : {"histogram", "moments", "update", "training", "metrics", "feedback"}
        event : dp_accounting.DpEvent

        Raises
        ------
        BudgetExceeded
            If the release is not part of an admitted plan and would exceed the budget. Nothing
            is written.
        LedgerError
            If the file was changed by someone else or cannot be written: nothing may be released.
        ConfigError
            For an unknown release or kind of event, or a round below 0.
        """
        line = self._chain.entry_line(round, release, event)
        key = _key(release, event)
        if not self._planned[key]:
            events = [entry.event for entry in self.entries]
            self._check_budget([*events, event], f"{release} of round {round}")
            self._planned.clear()  # its remainder may no longer fit beside this release
        self._write(line)
        self._chain.add(line)
        if self._planned[key]:
            self._planned[key] -= 1

    def _cost(self, events: list[DpEvent], delta: float | None = None) -> float:
        promised = self.header.guarantee.at(delta)
        return epsilon([(event, 1) for event in events], *promised.counted)

    def _check_budget(self, events: list[DpEvent], what: str) -> None:
        promised = self.header.guarantee
        if math.isinf(promised.budget):
            steps_of([(event, 1) for event in events], promised.relation)  # refuses unknown ones
            return
        cost = self._cost(events)
        if cost > promised.budget * (1 + _SLACK):
            raise BudgetExceeded(
                f"{self._path}: {what} would bring epsilon to {cost:.6g}, budget "
                f"{promised.budget:g} at delta {promised.delta:g}; refused before anything was "
                "released"
            )

    def _write(self, line: bytes) -> None:
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                if os.fstat(handle).st_size != self._chain.size:
                    raise LedgerError(
                        f"{self._path}: changed since it was opened; another process may be "
                        "using it. Nothing was released"
                    )
                _write_through(handle, line)
            finally:
                os.close(handle)
        except OSError as error:
            raise LedgerError(
                f"{self._path}: cannot be written: {error.strerror}; nothing may be released"
            ) from None


def _key(release: str, event: DpEvent) -> tuple[str, str]:
    return check_release(release), canonical_json(event_to_json(event))


def _read(path: Path) -> tuple[list[bytes], bytes]:
    """Whole lines with their ends, and what follows the last line end."""
    try:
        lines = read_file(path).split(b"\n")
    except OSError as error:
        raise LedgerError(f"{path}: ledger cannot be read: {error.strerror}") from None
    return [line + b"\n" for line in lines[:-1]], lines[-1]


def _chained(path: Path, lines: list[bytes]) -> Chain:
    chain = Chain(str(path))
    for line in lines:
        chain.add(line)
    return chain


def _with_header(chain: Chain) -> Chain:
    _ = chain.header  # raises where there is none
    return chain


def _write_through(handle: int, data: bytes) -> None:
    """All bytes, on disk before this returns."""
    while data:
        data = data[os.write(handle, data) :]
    os.fsync(handle)


def _replace(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.recovered")
    try:
        with draft.open("wb") as file:
            _write_through(file.fileno(), data)
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise LedgerError(f"{path}: ledger cannot be repaired: {error.strerror}") from None
