"""The log's order, repeats, users and fingerprint."""

import numpy as np
import pandas as pd
import pytest

from shared.data.catalogue import Catalogue
from shared.data.log import InteractionLog
from shared.data.population import ChosenUsers, Population, person_key
from shared.errors import DataError

CATALOGUE = Catalogue(("a", "b", "c", "d"), ("A", "B", "C", "D"))


def frame(*rows: tuple[str, str, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["user", "item", "timestamp"])


def test_unsorted_rows_are_sorted_by_time_per_user() -> None:
    log = InteractionLog(
        frame(("u", "a", 3), ("v", "d", 9), ("u", "b", 1), ("u", "c", 2), ("v", "a", 1)), CATALOGUE
    )
    assert log.history(log.user_index("u")).tolist() == [1, 2, 0]
    assert log.history(log.user_index("v")).tolist() == [0, 3]
    assert log.timestamps(0).tolist() == [1, 2, 3]
    assert log.span == (1, 9)
    assert log.history(0).dtype == np.int64


def test_equal_timestamps_keep_the_order_of_the_rows() -> None:
    items = ["d", "b", "a", "c"]
    log = InteractionLog(frame(*(("u", item, 5) for item in items)), CATALOGUE)
    assert [CATALOGUE.item_ids[item] for item in log.history(0)] == items


def test_a_repeated_item_keeps_its_earliest_interaction() -> None:
    rows = [("u", "a", 9), ("u", "b", 2), ("u", "a", 1), ("u", "b", 2), ("v", "a", 1)]
    log = InteractionLog(frame(*rows), CATALOGUE)
    assert log.history(0).tolist() == [0, 1]
    assert log.timestamps(0).tolist() == [1, 2]
    assert log.dropped == 2
    assert log.interactions == 3


def test_users_without_interactions_have_an_empty_history() -> None:
    log = InteractionLog(frame(("u", "a", 1)), CATALOGUE, users=["x", "u", "y"])
    assert [len(log.history(user)) for user in range(3)] == [0, 1, 0]
    assert [log.user_id(user) for user in range(3)] == ["x", "u", "y"]
    assert log.history(0).dtype == np.int64


def test_a_log_of_nothing_but_listed_users_is_possible() -> None:
    log = InteractionLog(frame(), CATALOGUE, users=["x"])
    assert (len(log), log.interactions, log.span) == (1, 0, None)
    assert log.history(0).tolist() == []


@pytest.mark.parametrize(
    ("rows", "users", "message"),
    [
        ([("u", "z", 1)], None, "item 'z' is not in the catalogue"),
        ([("u", "a", 1)], ["v"], "user 'u' is not in the list"),
        ([("u", "a", 1)], ["u", "u"], "names a user twice"),
        ([("u", "a", float("nan"))], None, "timestamps must be whole"),
        ([("u", "a", float("inf"))], None, "timestamps must be whole"),
        ([("u", "a", 1.5)], None, "timestamps must be whole"),
        ([("u", "a", "soon")], None, "timestamps must be whole"),
        ([], None, "no users"),
    ],
)
def test_broken_logs_are_refused(rows: list, users: list[str] | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        InteractionLog(frame(*rows), CATALOGUE, users=users)


def test_indices_out_of_range_are_refused_rather_than_wrapped() -> None:
    log = InteractionLog(frame(("u", "a", 1)), CATALOGUE)
    for user in (-1, 1):
        with pytest.raises(DataError, match=r"outside \[0, 1\)"):
            log.history(user)
    with pytest.raises(DataError, match="'nobody'"):
        log.user_index("nobody")


def test_histories_cannot_be_written_to() -> None:
    log = InteractionLog(frame(("u", "a", 1)), CATALOGUE)
    with pytest.raises(ValueError, match="read-only"):
        log.history(0)[0] = 3


def test_digest_depends_on_users_order_and_items_only() -> None:
    rows = [("u", "a", 1), ("u", "b", 2), ("v", "c", 1)]
    digest = InteractionLog(frame(*rows), CATALOGUE).digest
    same = [("u", "b", 20), ("u", "a", 10), ("v", "c", 5)]
    assert InteractionLog(frame(*same), CATALOGUE, name="other").digest == digest
    others = [
        [("u", "b", 1), ("u", "a", 2), ("v", "c", 1)],
        [("u", "a", 1), ("v", "b", 2), ("v", "c", 3)],
        [("w", "a", 1), ("w", "b", 2), ("v", "c", 1)],
    ]
    assert all(InteractionLog(frame(*other), CATALOGUE).digest != digest for other in others)


def test_chosen_users_are_a_population_of_the_smallest_keys() -> None:
    log = InteractionLog(frame(("u", "a", 1), ("v", "b", 1), ("v", "c", 2)), CATALOGUE)
    assert person_key("v") < person_key("u")
    chosen: Population = ChosenUsers(log, 1)
    assert (len(chosen), chosen.interactions, chosen.user_id(0)) == (1, 2, "v")
    assert chosen.history(0).tolist() == [1, 2]
    assert (*chosen.keys, chosen.user_index("v"), chosen.user_of(person_key("v"))) == (
        person_key("v"),
        0,
        0,
    )
    assert chosen.catalogue is log.catalogue
    assert len({chosen.digest, ChosenUsers(log, 2).digest, log.digest}) == 3
    with pytest.raises(DataError, match="user index 1"):
        chosen.history(1)
    with pytest.raises(DataError, match="'u' is not among them"):
        chosen.user_index("u")
    with pytest.raises(DataError, match="nobody has the key 5"):
        chosen.user_of(5)
    for users in (0, 3):
        with pytest.raises(DataError, match=rf"data.users = {users}.*1 to 2"):
            ChosenUsers(log, users)


def test_whose_slot_is_empty_keeps_it() -> None:
    rows = [("u", "a", 1), ("v", "b", 1), ("w", "c", 2)]
    everyone = ("u", "v", "w")
    before = ChosenUsers(InteractionLog(frame(*rows), CATALOGUE, users=everyone), 2)
    without_v = [row for row in rows if row[0] != "v"]
    after = ChosenUsers(InteractionLog(frame(*without_v), CATALOGUE, users=everyone), 2)
    assert before.keys == after.keys
    assert person_key("v") in after.keys
    assert after.history(after.user_index("v")).tolist() == []


def test_two_people_of_one_key_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.data.population.person_key", lambda user_id: 7)
    log = InteractionLog(frame(("u", "a", 1), ("v", "b", 1)), CATALOGUE, name="mine.csv")
    with pytest.raises(DataError, match=r"mine.csv: users 1 and 0 have one key.*'v' another"):
        _ = log.keys
