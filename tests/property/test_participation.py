"""Nobody takes part too early or too often: any availability, any schedule, over crashes."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.cohort.participation import LeastRecent, LimitedSampler, Participations
from shared.errors import PrivacyError

NODES = [1000 + 7 * i for i in range(12)]


class Greedy:
    """A schedule that asks everyone who is there, always."""

    def choose(self, round_number: int, people: Sequence[int], record: Participations) -> list[int]:
        return list(range(len(people)))


class Off:
    """A schedule that is wrong by one round: it allows a separation one too short."""

    def __init__(self, separation: int) -> None:
        self._separation = separation

    def choose(self, round_number: int, people: Sequence[int], record: Participations) -> list[int]:
        last = [record.last(one) for one in people]
        return [i for i, at in enumerate(last) if not at or round_number - at >= self._separation]


def keeps(rounds: dict[int, list[int]], most: int, separation: int) -> bool:
    """Whether every node's rounds are few enough and far enough apart."""
    taken: dict[int, list[int]] = {}
    for number in sorted(rounds):
        for node in rounds[number]:
            taken.setdefault(node, []).append(number)
    return all(
        len(numbers) <= most and all(np.diff(numbers) >= separation) for numbers in taken.values()
    )


availability = st.lists(st.sets(st.sampled_from(NODES)), min_size=1, max_size=14)
schedules = st.sampled_from(["turns", "greedy", "off"])


@given(availability, schedules, st.integers(1, 4), st.integers(1, 5), st.data())
@settings(max_examples=120, deadline=None)
def test_limits_hold_for_every_schedule_and_availability(
    there: list[set[int]], kind: str, most: int, separation: int, data: st.DataObject
) -> None:
    schedule = {"turns": LeastRecent(3.0, 1), "greedy": Greedy(), "off": Off(separation - 1)}[kind]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "asked.jsonl"
        record = Participations(file, most, separation)
        asked: dict[int, list[int]] = {}
        for number, nodes in enumerate(there, 1):
            if data.draw(st.booleans()):  # a crash between rounds
                record = Participations(file, most, separation)
            sampler = LimitedSampler(schedule, record, 3.0, len(NODES))
            try:
                asked[number] = sampler.draw(number, sorted(nodes))
            except PrivacyError:
                assert kind != "turns"
                continue
            assert set(asked[number]) <= nodes
            assert record.asked(number) == frozenset(asked[number])
        assert keeps(asked, most, separation)


def test_the_check_above_sees_a_fault() -> None:
    assert not keeps({1: [5], 3: [5]}, most=2, separation=3)
    assert not keeps({1: [5], 4: [5], 7: [5]}, most=2, separation=3)
    assert keeps({1: [5], 4: [5]}, most=2, separation=3)


def test_without_the_record_a_wrong_schedule_would_get_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault: `admit` that only writes. The property above then fails."""
    monkeypatch.setattr(Participations, "_check", lambda self, number, who: None)
    record = Participations(tmp_path / "asked.jsonl", 4, 3)
    sampler = LimitedSampler(Off(2), record, 3.0, len(NODES))
    asked = {number: sampler.draw(number, NODES) for number in range(1, 8)}
    assert not keeps(asked, 4, 3)
