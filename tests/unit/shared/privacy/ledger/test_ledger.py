"""The ledger: written before it returns, guarded by a budget, repaired after a crash."""

import contextlib
import errno
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dp_accounting import (
    DpEvent,
    GaussianDpEvent,
    LaplaceDpEvent,
    NonPrivateDpEvent,
    PoissonSampledDpEvent,
)

from shared.errors import BudgetExceeded, ConfigError, LedgerError
from shared.privacy.accounting.accountant import calibrate, epsilon
from shared.privacy.ledger import ledger as ledger_module
from shared.privacy.ledger.ledger import Ledger, LedgerHeader
from tests.support.privacy.guarantees import differing, promised

HEADER = LedgerHeader(promised(), "0" * 64)
UPDATE = PoissonSampledDpEvent(0.1, GaussianDpEvent(1.0))
HISTOGRAM = GaussianDpEvent(5.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger-a.jsonl"


def filled(path: Path, rounds: int = 4) -> Ledger:
    ledger = Ledger.create(path, HEADER)
    ledger.append(0, "histogram", HISTOGRAM)
    for number in range(1, rounds + 1):
        ledger.append(number, "update", UPDATE)
    return ledger


def test_reads_back_what_was_written(path: Path) -> None:
    written = filled(path)
    read = Ledger.open(path)
    assert read.header == HEADER
    assert read.entries == written.entries
    assert read.position() == written.position() == (5, written.head)
    assert [entry.index for entry in read.entries] == [1, 2, 3, 4, 5]


def test_costs_what_the_accountant_says(path: Path) -> None:
    ledger = filled(path)
    history = [(HISTOGRAM, 1), (UPDATE, 4)]
    assert ledger.epsilon() == epsilon(history, 1e-4)
    assert ledger.epsilon(1e-6) == epsilon(history, 1e-6)
    ledger.append(5, "update", NonPrivateDpEvent())
    assert ledger.epsilon() == math.inf


def test_every_line_is_synced_before_append_returns(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = filled(path)
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size))
    ledger.append(5, "update", UPDATE)
    assert synced == [path.stat().st_size]


def test_resuming_continues_the_chain(path: Path) -> None:
    position = filled(path).position()
    resumed = Ledger.open(path)
    resumed.append(5, "update", UPDATE)
    assert len(Ledger.open(path)) == 6
    assert resumed.extends(*position)


def test_positions(path: Path) -> None:
    ledger = Ledger.create(path, HEADER)
    positions = [ledger.position()]
    for number in range(3):
        ledger.append(number, "update", UPDATE)
        positions.append(ledger.position())
    for entries, head in positions:
        assert ledger.extends(entries, head)
        assert not ledger.extends(entries + 1, head)
        assert not ledger.extends(entries, "0" * 64)
    other = Ledger.create(path.with_name("ledger-b.jsonl"), replace(HEADER, settings="1" * 64))
    assert not other.extends(*positions[0])


def test_holds(path: Path) -> None:
    ledger = filled(path)
    assert ledger.holds(2, "update", UPDATE)
    assert not ledger.holds(5, "update", UPDATE)
    assert not ledger.holds(2, "update", HISTOGRAM)
    assert not ledger.holds(2, "histogram", UPDATE)


def test_does_not_replace_a_ledger(path: Path) -> None:
    filled(path)
    with pytest.raises(LedgerError, match="exists"):
        Ledger.create(path, HEADER)


# The budget.


def budgeted(path: Path, rounds: int, target: float = 2.0) -> tuple[Ledger, DpEvent]:
    z = calibrate(promised(target), rounds, 0.1).noise_multiplier
    event = PoissonSampledDpEvent(0.1, GaussianDpEvent(z))
    return Ledger.create(path, differing(HEADER, budget=target)), event


def test_a_plan_is_admitted_once_and_then_released(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, event = budgeted(path, 5)
    assert ledger.admit([("update", event, 5)]) == pytest.approx(2.0, rel=1e-4)
    monkeypatch.setattr(ledger_module, "epsilon", None)  # would fail if it accounted anew
    for number in range(5):
        ledger.append(number, "update", event)


@pytest.mark.parametrize("planned", [False, True])
def test_a_release_over_budget_is_refused_before_writing(path: Path, planned: bool) -> None:
    ledger, event = budgeted(path, 5)
    if planned:
        ledger.admit([("update", event, 5)])
    for number in range(5):
        ledger.append(number, "update", event)
    before = path.read_bytes()
    for refused in (event, NonPrivateDpEvent(), GaussianDpEvent(1.0)):
        with pytest.raises(BudgetExceeded, match="budget 2"):
            ledger.append(5, "update", refused)
    assert path.read_bytes() == before
    assert len(ledger) == 5


def test_a_plan_over_budget_is_refused(path: Path) -> None:
    ledger, event = budgeted(path, 5)
    with pytest.raises(BudgetExceeded, match="planned 6 releases"):
        ledger.admit([("update", event, 6)])
    assert len(ledger) == 0


def test_a_plan_counts_what_was_spent_before(path: Path) -> None:
    ledger, event = budgeted(path, 5)
    ledger.append(0, "update", event)
    resumed = Ledger.open(path)
    with pytest.raises(BudgetExceeded):
        resumed.admit([("update", event, 5)])
    resumed.admit([("update", event, 4)])


def test_an_unplanned_release_voids_the_plan(path: Path) -> None:
    ledger, event = budgeted(path, 5)
    ledger.admit([("update", event, 5)])
    ledger.append(0, "update", GaussianDpEvent(3.0))  # fits alone, but not beside the whole plan
    released = 0
    with contextlib.suppress(BudgetExceeded):
        for number in range(1, 6):
            ledger.append(number, "update", event)
            released += 1
    assert 0 < released < 5
    assert ledger.epsilon() <= 2.0


def test_without_a_budget_unknown_events_are_refused_all_the_same(path: Path) -> None:
    ledger = Ledger.create(path, HEADER)
    with pytest.raises(ConfigError):
        ledger.append(0, "update", LaplaceDpEvent(1.0))
    with pytest.raises(ConfigError, match="noise multiplier"):
        ledger.append(0, "update", GaussianDpEvent(-1.0))
    with pytest.raises(ConfigError, match="release"):
        ledger.append(0, "gradient", UPDATE)
    with pytest.raises(ConfigError, match="round"):
        ledger.append(-1, "update", UPDATE)
    assert len(Ledger.open(path)) == 0


# Crashes and other writers.


def test_a_torn_line_is_refused_then_recovered(path: Path) -> None:
    ledger = filled(path)
    whole = path.read_bytes()
    last = len(whole.splitlines(keepends=True)[-1])
    for cut in range(1, last + 1):
        path.write_bytes(whole[:-cut])
        if cut < last:
            with pytest.raises(LedgerError, match="line 6 was cut off"):
                Ledger.open(path)
        recovered = Ledger.recover(path)
        # Only when nothing but the line end is missing is the entry itself complete.
        assert len(recovered) == (5 if cut == 1 else 4)
        assert Ledger.open(path).position() == recovered.position()
        recovered.append(9, "update", UPDATE)
        assert len(Ledger.open(path)) == len(recovered)
    assert ledger.header == recovered.header


def test_recovery_does_not_excuse_an_edit(path: Path) -> None:
    filled(path)
    text = path.read_bytes()
    path.write_bytes(text.replace(b'"noise_multiplier":5.0', b'"noise_multiplier":6.0') + b'{"')
    with pytest.raises(LedgerError, match="line 2"):
        Ledger.recover(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\n", b"\xff\xfe\n", b"[]\n", b'{"content":1}\n'])
def test_what_is_no_ledger(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    for read in (Ledger.open, Ledger.recover):
        with pytest.raises(LedgerError, match="line 1"):
            read(path)


def test_a_missing_file(path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot be read"):
        Ledger.open(path)


def test_a_second_writer_is_noticed(path: Path) -> None:
    first = filled(path)
    second = Ledger.open(path)
    first.append(5, "update", UPDATE)
    with pytest.raises(LedgerError, match="another process"):
        second.append(5, "update", UPDATE)
    assert len(Ledger.open(path)) == 6


def test_a_full_disk_stops_the_release_and_all_that_follow(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = filled(path)
    write = os.write

    def full(handle: int, data: bytes) -> int:
        if len(data) < 50:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, data[:40])

    monkeypatch.setattr(os, "write", full)
    for _ in range(2):
        with pytest.raises(LedgerError, match=r"[Nn]othing"):
            ledger.append(5, "update", UPDATE)
    monkeypatch.undo()
    with pytest.raises(LedgerError, match="another process"):
        ledger.append(5, "update", UPDATE)
    assert len(Ledger.recover(path)) == 5


# Headers and seals.


@pytest.mark.parametrize(
    "changed",
    [{"delta": 0.0}, {"delta": 1.0}, {"budget": 0.0}, {"budget": math.nan}, {"relation": "near"}],
)
def test_refuses_a_header_that_promises_nothing(changed: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        differing(HEADER, **changed)
