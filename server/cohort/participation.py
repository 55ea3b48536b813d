"""Who takes part where it need not be secret: a schedule, and limits that hold whatever it says.

Correlated noise is accounted for a unit that takes part at most k times and in rounds at least s
apart. `Participations` enforces both: who is asked stands on disk before anyone is, over restarts.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np

from server.cohort.sampling import words
from shared.errors import ConfigError, LedgerError, PrivacyError
from shared.files import read_file, sync_folder, write_atomically

_SCHEDULE = 0x73636865  # keeps this stream apart from others seeded with the same seed
_GENESIS = "0" * 64  # stands for the line before the first


class Participations:
    """The record of who was asked in which round, written before they are.

    Someone who was asked counts as having taken part, whether an answer came or not. Each line has
    the SHA-256 of the line before's hash and its own content: none before the last can be edited,
    removed or moved unseen.

    Parameters
    ----------
    file : Path
        Created with its first round, or continued; its folder must exist. JSON lines.
    participations : int
        k >= 1: how often one may be asked in all.
    separation : int
        s >= 1: rounds from one time to the next.

    Raises
    ------
    LedgerError
        If the file cannot be read, or is not what was written.
    """

    def __init__(self, file: Path, participations: int, separation: int) -> None:
        self._file = file
        self._most = participations
        self._separation = separation
        self._rounds: dict[int, frozenset[int]] = {}
        self._last: dict[int, int] = {}
        self._times: dict[int, int] = {}
        rounds, self._head = _read(file)
        for number, asked in rounds:
            self._count(number, asked)

    @property
    def last_round(self) -> int:
        """The last round that anyone was asked in; 0 before the first."""
        return max(self._rounds, default=0)

    def asked(self, round_number: int) -> frozenset[int] | None:
        """Who was asked in a round; None if nobody was yet."""
        return self._rounds.get(round_number)

    def last(self, who: int) -> int:
        """The last round that someone was asked in; 0 for never."""
        return self._last.get(who, 0)

    def may(self, who: int, round_number: int) -> bool:
        """Whether someone may be asked in a round that comes after all others."""
        last = self._last.get(who)
        rested = last is None or round_number - last >= self._separation
        return rested and self._times.get(who, 0) < self._most

    def admit(self, round_number: int, who: Sequence[int]) -> None:
        """Record who is going to be asked; when this returns it is on disk. Ask only then.

        A round that was recorded before may be repeated with the same people, or fewer.

        Raises
        ------
        PrivacyError
            If the round lies before another one, or someone would take part too early or too
            often. Nothing is recorded.
        LedgerError
            If the record cannot be written.
        """
        before = self._rounds.get(round_number)
        if before is not None:
            self._check_repeated(round_number, before, who)
            return
        self._check(round_number, who)
        line, head = _line(self._head, round_number, who)
        try:
            _append(self._file, line + b"\n")
        except OSError as error:
            raise LedgerError(
                f"{self._file}: cannot be written: {error.strerror}; nobody may be asked"
            ) from None
        self._head = head
        self._count(round_number, frozenset(who))

    def _check(self, round_number: int, who: Sequence[int]) -> None:
        if round_number <= self.last_round:
            raise PrivacyError(
                f"round {round_number}: round {self.last_round} was asked for already; rounds "
                "only go on"
            )
        if len(set(who)) != len(who):
            raise PrivacyError(f"round {round_number}: someone would be asked twice")
        for one in who:
            if not self.may(one, round_number):
                raise PrivacyError(
                    f"round {round_number}: {one} was asked {self._times[one]} times, last in "
                    f"round {self._last[one]}; the noise covers {self._most} times, "
                    f"{self._separation} rounds apart. Nobody was asked"
                )

    def _check_repeated(
        self, round_number: int, before: frozenset[int], who: Sequence[int]
    ) -> None:
        strangers = set(who) - before
        if strangers or len(set(who)) != len(who):
            raise PrivacyError(
                f"round {round_number}: is recorded with other people, {sorted(strangers)[:3]} "
                "not among them; a round has one cohort"
            )

    def _count(self, number: int, asked: frozenset[int]) -> None:
        self._rounds[number] = asked
        for one in asked:
            self._last[one] = number
            self._times[one] = self._times.get(one, 0) + 1


class Schedule(Protocol):
    """A proposal of who takes part; the limits hold whatever it is."""

    def choose(self, round_number: int, people: Sequence[int], record: Participations) -> list[int]:
        """Positions in `people` of those to ask in a round."""
        ...


class LeastRecent:
    """As many as the expected cohort, those first who have waited longest. Nothing secret.

    With everyone reachable people take turns in a fixed order, cohort by cohort: by the words that
    the seed gives their nodes, whatever place they have in a list. When somebody's turn is follows
    from who is there, which is public, and from nobody's data. Cohorts differ by one where the
    expectation is not a whole number. A round for which too few may be asked is smaller, down to
    nobody.

    Parameters
    ----------
    expected : float
        > 0.
    seed : int or None
        Of the order in which people come first; None for the operating system's entropy.
    """

    def __init__(self, expected: float, seed: int | None) -> None:
        self._expected = expected
        self._seed = secrets.randbits(128) if seed is None else seed

    def choose(self, round_number: int, people: Sequence[int], record: Participations) -> list[int]:
        """Positions of those to ask, in ascending order."""
        places = [i for i, one in enumerate(people) if record.may(one, round_number)]
        waiting = np.array([record.last(people[i]) for i in places])
        order = words([people[i] for i in places], _SCHEDULE, self._seed)
        turns = np.lexsort((order, waiting))  # by the last round, then by the order
        first = turns[: self._quota(round_number)]
        return sorted(places[i] for i in first)

    def _quota(self, number: int) -> int:
        """Whole people whose running total never exceeds the expectation's."""
        upto = [math.floor(t * self._expected * (1 + 1e-12)) for t in (number - 1, number)]
        return upto[1] - upto[0]


class LimitedSampler:
    """Cohorts by a schedule, each admitted by the record before anyone is asked.

    Parameters
    ----------
    schedule : Schedule
    record : Participations
    expected : float
        Cohort that sums are divided by, > 0 and at most `users`.
    users : int
        Size of the population, >= 1.
    """

    def __init__(
        self,
        schedule: Schedule,
        record: Participations,
        expected: float,
        users: int,
    ) -> None:
        if not 0 < expected <= users:
            raise ConfigError(f"expected cohort = {expected:g}: must be in (0, {users}]")
        self.expected = expected
        self.users = users
        self._schedule = schedule
        self._record = record

    def draw(self, round_number: int, nodes: Sequence[int]) -> list[int]:
        """The nodes to ask in a round, in ascending order of position; may be empty.

        Raises
        ------
        PrivacyError
            If the schedule asks for someone whom the limits exclude.
        """
        before = self._record.asked(round_number)
        if before is None:
            chosen = [nodes[i] for i in self._schedule.choose(round_number, nodes, self._record)]
        else:  # asked, then interrupted: the same ones again, as far as they are there
            chosen = [one for one in nodes if one in before]
        self._record.admit(round_number, chosen)
        return chosen


def _line(head: str, number: int, who: Iterable[int]) -> tuple[bytes, str]:
    """What is written for a round after the line with that hash, and its own hash."""
    text = json.dumps({"round": number, "asked": sorted(who)}, separators=(",", ":"))
    digest = hashlib.sha256(f"{head}{text}".encode()).hexdigest()
    return f'{text[:-1]},"hash":"{digest}"}}'.encode(), digest


def _read(file: Path) -> tuple[list[tuple[int, frozenset[int]]], str]:
    """Every whole line, and the hash of the last one.

    A line that was cut off in writing is dropped: nobody was asked for it.
    """
    if not file.exists():
        return [], _GENESIS
    try:
        *whole, torn = read_file(file).split(b"\n")
        if torn:
            write_atomically(file, b"".join(line + b"\n" for line in whole))
    except OSError as error:
        raise LedgerError(f"{file}: cannot be read: {error.strerror}") from None
    rounds, head = [], _GENESIS
    for number, line in enumerate(whole, 1):
        try:
            entry = json.loads(line)
            asked = frozenset(map(int, entry["asked"]))
            rounds.append((int(entry["round"]), asked))
            written, head = _line(head, rounds[-1][0], asked)
        except (ValueError, KeyError, OverflowError, TypeError, RecursionError):
            raise LedgerError(
                f"{file}: line {number}: not a record of who was asked; restore it from a copy"
            ) from None
        if line != written:
            raise LedgerError(
                f"{file}: line {number}: edited, or a line before it was removed, added or moved; "
                "restore it from a copy"
            )
    if any(after[0] <= before[0] for before, after in pairwise(rounds)):
        raise LedgerError(f"{file}: its rounds are not in order; restore it from a copy")
    return rounds, head


def _append(file: Path, line: bytes) -> None:
    is_new = not file.exists()
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        while line:
            line = line[os.write(handle, line) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    if is_new:
        sync_folder(file.parent)
