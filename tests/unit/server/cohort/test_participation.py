"""Turns, the write-ahead record of who was asked, and what it refuses."""

from pathlib import Path

import pytest

from server.cohort.participation import LeastRecent, LimitedSampler, Participations
from shared.errors import ConfigError, LedgerError, PrivacyError

PEOPLE = range(23)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "asked.jsonl"


def sampler(file: Path, expected: float = 23 / 4, separation: int = 4, most: int = 3, seed=0):
    record = Participations(file, most, separation)
    return LimitedSampler(LeastRecent(expected, seed), record, expected, 23)


def test_people_take_turns(file: Path) -> None:
    """Everyone once in every four rounds, in the same rounds of each cycle."""
    turns = sampler(file)
    nodes = [100 + i for i in PEOPLE]
    cohorts = [turns.draw(t, nodes) for t in range(1, 13)]
    assert [len(cohort) for cohort in cohorts] == [5, 6, 6, 6] * 3
    for cycle in range(3):
        everyone = [node for cohort in cohorts[4 * cycle : 4 * cycle + 4] for node in cohort]
        assert sorted(everyone) == nodes
        assert cohorts[4 * cycle : 4 * cycle + 4] == cohorts[:4]
    assert cohorts[0] == sorted(cohorts[0]) != nodes[:5]


def test_after_the_last_turn_nobody_is_asked(file: Path) -> None:
    turns = sampler(file, most=1)
    assert sum(len(turns.draw(t, PEOPLE)) for t in range(1, 5)) == 23
    assert turns.draw(5, PEOPLE) == []


def test_who_was_away_comes_first(file: Path) -> None:
    turns = sampler(file)
    early = set(turns.draw(1, range(12)))  # twelve are there
    late = {one for t in (2, 3, 4) for one in turns.draw(t, PEOPLE)}
    assert late == set(PEOPLE) - early
    assert set(turns.draw(5, PEOPLE)) == early


def test_the_order_is_the_seeds(file: Path, tmp_path: Path) -> None:
    first = [sampler(tmp_path / name, seed=s).draw(1, PEOPLE) for name, s in ("a1", "b1", "c2")]
    assert first[0] == first[1] != first[2]


def test_nodes_are_known_by_their_identifier_on_real_grids(file: Path) -> None:
    record = Participations(file, 2, 2)
    real = LimitedSampler(LeastRecent(2.0, None), record, 2.0, 4)
    asked = real.draw(1, [11, 12, 13, 14])
    assert record.asked(1) == frozenset(asked)
    rest = {11, 12, 13, 14} - set(asked)
    assert set(real.draw(2, [14, 13, 12, 11])) == rest


def test_it_is_written_before_anyone_is_asked(file: Path) -> None:
    cohort = sampler(file).draw(1, PEOPLE)
    assert Participations(file, 3, 4).asked(1) == frozenset(cohort)


def test_an_interrupted_round_asks_the_same_people_again(file: Path) -> None:
    cohort = sampler(file).draw(1, PEOPLE)
    again = sampler(file, seed=9)
    assert again.draw(1, PEOPLE) == cohort
    assert again.draw(1, range(12)) == [one for one in cohort if one < 12]  # as far as there
    assert len(file.read_bytes().splitlines()) == 1


def test_no_one_joins_a_round_that_was_recorded(file: Path) -> None:
    record = Participations(file, 3, 4)
    record.admit(1, [1, 2])
    with pytest.raises(PrivacyError, match="one cohort"):
        record.admit(1, [1, 3])


@pytest.mark.parametrize(
    ("number", "who", "said"),
    [
        (4, [5], "asked 1 times, last in round 2"),
        (9, [7], "asked 2 times"),
        (9, [8, 8], "asked twice"),
        (1, [9], "only go on"),
    ],
    ids=["too early", "too often", "twice in a round", "going back"],
)
def test_refused_and_nothing_written(file: Path, number: int, who: list[int], said: str) -> None:
    record = Participations(file, 2, 3)
    for at, asked in ((2, [5]), (3, [7]), (6, [7])):
        if at < number or number == 1:
            record.admit(at, asked)
    before = file.read_bytes()
    with pytest.raises(PrivacyError, match=said):
        record.admit(number, who)
    assert file.read_bytes() == before


def test_a_line_that_was_cut_off_is_dropped(file: Path) -> None:
    sampler(file).draw(1, PEOPLE)
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"round":2,"asked":[1,')
    record = Participations(file, 3, 4)
    assert record.last_round == 1
    assert file.read_bytes() == whole


@pytest.mark.parametrize(
    "text", ["nonsense\n", '{"round": 1}\n', '{"round":2,"asked":[]}\n{"round":1,"asked":[]}\n']
)
def test_a_damaged_record_is_refused(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(LedgerError, match="restore it"):
        Participations(file, 3, 4)


@pytest.mark.parametrize(
    "edit",
    [
        lambda lines: lines[1:],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [lines[0].replace(b"[1,2]", b"[1]"), *lines[1:]],
        lambda lines: [lines[0], lines[2], lines[1]],
        lambda lines: [b'{"round":1,"asked":[1,2]}\n', *lines[1:]],
    ],
    ids=["first removed", "one removed", "someone taken out", "moved", "not chained"],
)
def test_an_earlier_line_cannot_be_changed_unseen(file: Path, edit) -> None:
    record = Participations(file, 3, 2)
    for number, asked in ((1, [2, 1]), (2, [3]), (4, [1])):
        record.admit(number, asked)
    lines = file.read_bytes().splitlines(keepends=True)
    assert Participations(file, 3, 2).last_round == 4
    file.write_bytes(b"".join(edit(lines)))
    with pytest.raises(LedgerError, match=r"line \d: edited, or a line before it was removed"):
        Participations(file, 3, 2)


def test_a_record_that_cannot_be_written_asks_nobody(tmp_path: Path) -> None:
    record = Participations(tmp_path / "missing" / "asked.jsonl", 3, 4)
    with pytest.raises(LedgerError, match="nobody may be asked"):
        record.admit(1, [1])
    assert record.asked(1) is None


def test_an_impossible_cohort_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match="expected cohort"):
        sampler(file, expected=24.0)
