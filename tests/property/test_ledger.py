"""Round trips, and any alteration of a ledger shows against its seal."""

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from dp_accounting import (
    ComposedDpEvent,
    DpEvent,
    GaussianDpEvent,
    NonPrivateDpEvent,
    PoissonSampledDpEvent,
    SelfComposedDpEvent,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import LedgerError
from shared.privacy.accounting.events import SkellamDpEvent
from shared.privacy.ledger.chain import Chain
from shared.privacy.ledger.ledger import Ledger, LedgerHeader
from tests.support.privacy.guarantees import promised

HEADER = LedgerHeader(promised(delta=1e-5, adversary='sees "everything", é and \\'), "f" * 64)

noise = st.floats(1e-3, 1e6)
gaussian = st.builds(GaussianDpEvent, noise)
simple = (
    gaussian
    | st.builds(PoissonSampledDpEvent, st.floats(0, 1, exclude_min=True), gaussian)
    | st.just(NonPrivateDpEvent())
    | st.builds(SkellamDpEvent, st.floats(1.0, 1e20), st.just(2.0), st.floats(2.0, 1e9))
)
events = st.recursive(
    simple,
    lambda inner: (
        st.builds(SelfComposedDpEvent, inner, st.integers(1, 10))
        | st.builds(ComposedDpEvent, st.lists(inner, max_size=3))
    ),
    max_leaves=5,
)
kinds = st.sampled_from(["histogram", "update", "training", "metrics"])
releases = st.tuples(st.integers(0, 10**6), kinds, events)


def write(folder: str, history: list[tuple[int, str, DpEvent]]) -> Ledger:
    ledger = Ledger.create(Path(folder) / "ledger-a.jsonl", HEADER)
    for number, release, event in history:
        ledger.append(number, release, event)
    return ledger


def is_detected(path: Path, position: tuple[int, str]) -> bool:
    """Whether `verify` would notice: the ledger does not open, or not where it was sealed."""
    try:
        return Ledger.open(path).position() != position
    except LedgerError:
        return True


@settings(max_examples=50, deadline=None)
@given(history=st.lists(releases, max_size=6))
def test_there_and_back(history: list[tuple[int, str, DpEvent]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        written = write(folder, history)
        read = Ledger.open(written.path)
        assert [(e.round, e.release, e.event) for e in read.entries] == history
        assert read.position() == written.position()
        assert read.header == HEADER


@settings(max_examples=100, deadline=None)
@given(history=st.lists(releases, min_size=1, max_size=4), data=st.data())
def test_any_edit_of_a_byte_is_detected(
    history: list[tuple[int, str, DpEvent]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = write(folder, history)
        original = ledger.path.read_bytes()
        for _ in range(10):
            place = data.draw(st.integers(0, len(original) - 1))
            replacement = data.draw(
                st.binary(max_size=2).filter(lambda new, at=place: new != original[at : at + 1])
            )
            altered = original[:place] + replacement + original[place + 1 :]
            ledger.path.write_bytes(altered)
            assert is_detected(ledger.path, ledger.position()) or altered == original


def remove(lines: list[bytes], k: int) -> list[bytes]:
    return lines[:k] + lines[k + 1 :]


def cut_tail(lines: list[bytes], k: int) -> list[bytes]:
    return lines[:k]


def swap(lines: list[bytes], k: int) -> list[bytes]:
    return [*lines[: k - 1], lines[k], lines[k - 1], *lines[k + 1 :]]


def repeat(lines: list[bytes], k: int) -> list[bytes]:
    return [*lines[: k + 1], *lines[k:]]


def rehash(lines: list[bytes], k: int) -> list[bytes]:
    """Edit a line and give it the hash that its new content has on its own place."""
    line = json.loads(lines[k])
    line["content"]["round"] = 10**7
    before = json.loads(lines[k - 1])["hash"]
    text = json.dumps(line["content"], sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(f"{before}{text}".encode()).hexdigest()
    return [*lines[:k], f'{{"content":{text},"hash":"{digest}"}}\n'.encode(), *lines[k + 1 :]]


Attack = Callable[[list[bytes], int], list[bytes]]


@pytest.mark.parametrize("attack", [remove, cut_tail, swap, repeat, rehash])
@settings(max_examples=30, deadline=None)
@given(history=st.lists(releases, min_size=2, max_size=5), data=st.data())
def test_any_change_of_lines_is_detected(
    attack: Attack, history: list[tuple[int, str, DpEvent]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = write(folder, history)
        lines = ledger.path.read_bytes().splitlines(keepends=True)
        k = data.draw(st.integers(1, len(lines) - 1))
        ledger.path.write_bytes(b"".join(attack(lines, k)))
        assert is_detected(ledger.path, ledger.position())


# Negative control: lines hashed each on its own, without the one before.


class Unchained(Chain):
    @property
    def head(self) -> str:
        return "0" * 64


def test_without_the_chain_an_edit_would_pass(tmp_path: Path) -> None:
    def passes(kind: type[Chain]) -> bool:
        chain = kind("ledger")
        lines = [chain.header_line(HEADER)]
        chain.add(lines[0])
        for number in range(3):
            lines.append(chain.entry_line(number, "update", GaussianDpEvent(1.0)))
            chain.add(lines[-1])
        altered = chain_edit(lines, "0" * 64 if kind is Unchained else chain.heads[1])
        fresh = kind("ledger")
        try:
            for line in altered:
                fresh.add(line)
        except LedgerError:
            return False
        return fresh.heads[-1] == chain.heads[-1]

    assert passes(Unchained)
    assert not passes(Chain)


def chain_edit(lines: list[bytes], before: str) -> list[bytes]:
    """More noise in the second entry, with the hash that this content gets after `before`."""
    content = json.loads(lines[2])["content"]
    content["event"]["noise_multiplier"] = 9.0
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(f"{before}{text}".encode()).hexdigest()
    return [*lines[:2], f'{{"content":{text},"hash":"{digest}"}}\n'.encode(), *lines[3:]]
