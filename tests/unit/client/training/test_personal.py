"""What a device keeps of its own: by round, whole or not at all, nothing of who never trained."""

import os
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest

from client.training.personal import PersonalStore
from shared.errors import ConfigError

DIM = 5


@pytest.fixture
def file(tmp_path):
    return tmp_path / "new" / "personal.sqlite"


def store(file, settings="a"):
    return PersonalStore(file, settings, DIM)


def values(*numbers):
    return np.outer(np.array(numbers, dtype=np.float32), np.arange(1, DIM + 1, dtype=np.float32))


def at(kept, user, round_number):
    found = kept.latest([user], round_number)
    return float(found[user][0]) if found else None


def test_nobody_has_anything_before_a_first_round(file):
    assert store(file).latest([0, 7], 3) == {}
    assert not file.exists()  # asking makes nothing


def test_values_come_back_to_the_bit(file):
    mine = np.array([[1.5, -0.0, 1e-45, 3.4e38, np.pi]], dtype=np.float32)
    store(file).keep([4], 1, mine)
    found = store(file).latest([4], 1)[4]
    assert found.dtype == np.float32
    assert found.tobytes() == mine.tobytes()


def test_a_replayed_round_starts_from_what_it_started_from(file):
    kept = store(file)
    for number, value in ((1, 10), (4, 40), (6, 60)):
        kept.keep([3], number, values(value))
    assert at(kept, 3, 5) == 40  # round 6 again
    kept.keep([3], 6, values(61))
    assert at(kept, 3, 5) == 40  # and again
    assert at(kept, 3, 6) == at(kept, 3, 99) == 61
    assert at(kept, 3, 3) is None  # what nobody can ask for any more is gone
    assert rows(file) == 2


def test_later_rounds_of_an_abandoned_run_are_as_if_they_had_not_been(file):
    kept = store(file)
    kept.keep([3], 8, values(80))
    kept.keep([3], 9, values(90))
    kept.keep([3], 1, values(1))
    assert at(kept, 3, 20) == 1
    assert rows(file) == 1


def test_people_and_settings_do_not_mix(file):
    store(file).keep([1, 2], 1, values(1, 2))
    store(file, "b").keep([2], 3, values(20))
    assert {u: v[0] for u, v in store(file).latest([0, 1, 2], 5).items()} == {1: 1, 2: 2}
    assert {u: v[0] for u, v in store(file, "b").latest([0, 1, 2], 5).items()} == {2: 20}


def test_a_million_people_take_the_room_of_those_who_trained(file):
    kept = PersonalStore(file, "a", 1000)
    kept.keep([999_998, 5], 1, np.ones((2, 1000), dtype=np.float32))
    assert sorted(kept.latest(range(0, 1_000_000, 999), 1)) == []
    assert sorted(kept.latest([*range(1200), 999_998], 1)) == [5, 999_998]
    assert file.stat().st_size < 100_000


CRASHING = """
import sys
from pathlib import Path
import numpy as np
from client.training.personal import PersonalStore
kept = PersonalStore(Path(sys.argv[1]), "a", 20_000)
print("ready", flush=True)
for number in range(1, 10_000):
    kept.keep([0, 1, 2], number, np.full((3, 20_000), number, dtype=np.float32))
"""


@pytest.mark.parametrize("wait", [0.05, 0.11, 0.23])
def test_killed_at_any_instant_it_holds_whole_rounds(file, wait):
    """All three people are at the same round, with the round before it; nothing is torn."""
    command = [sys.executable, "-c", CRASHING, str(file)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ))
    assert process.stdout.readline() == b"ready\n"
    time.sleep(wait)
    process.kill()
    process.wait()
    process.stdout.close()
    kept = PersonalStore(file, "a", 20_000)
    newest = kept.latest([0, 1, 2], 10_000)
    if newest:
        (last,) = {float(v) for mine in newest.values() for v in np.unique(mine)}
        before = kept.latest([0, 1, 2], int(last) - 1)
        assert {float(v) for mine in before.values() for v in np.unique(mine)} <= {last - 1}
        assert len(newest) == 3
        assert len(before) == (3 if last > 1 else 0)


def rows(file):
    database = sqlite3.connect(file)
    (count,) = database.execute("SELECT count(*) FROM personal").fetchone()
    database.close()
    return count


def test_what_is_no_such_file_is_refused_in_a_line(file):
    file.parent.mkdir()
    file.write_bytes(b"not a database, and long enough to be read as one" * 40)
    for use in (lambda: store(file).latest([0], 1), lambda: store(file).keep([0], 1, values(1))):
        with pytest.raises(ConfigError, match=r"personal.sqlite: cannot be used .*remove it"):
            use()


def test_another_version_or_size_is_refused(file):
    store(file).keep([0], 1, values(1))
    with pytest.raises(ConfigError, match="holds 5 personal numbers of someone; expected 6"):
        PersonalStore(file, "a", 6).latest([0], 1)
    database = sqlite3.connect(file)
    database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(ConfigError, match="is of version 9; expected 1"):
        store(file).latest([0], 1)


def test_values_of_another_shape_are_a_mistake(file):
    with pytest.raises(ValueError, match="shape"):
        store(file).keep([0, 1], 1, values(1))
