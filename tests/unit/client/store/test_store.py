"""What a person did stays, whatever happens to the file, the disk or the process."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.store import FILE, Interaction, Store, erase
from client.store.store import _STEPS
from shared.data.catalogue import Catalogue
from shared.errors import DataError
from tests.support import ROOT

COPY = "store.copy.sqlite"


def did(*items, start=0):
    return [Interaction(item, start + time) for time, item in enumerate(items)]


def items_of(store):
    return [each.item for each in store.interactions()]


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    store.add(did("a", "b", "c"))
    return store


def test_a_second_interaction_with_an_item_counts_once_and_the_first_time_holds(store):
    assert store.add([Interaction("b", -5), Interaction("a", 9), Interaction("d", 1)]) == 1
    assert items_of(store) == ["b", "a", "d", "c"]
    assert store.interactions()[0] == Interaction("b", -5)


def test_a_history_is_what_the_catalogue_holds_and_the_rest_waits(store):
    old, new = (Catalogue(tuple(ids), tuple(ids)) for ids in ("xca", "bacx"))
    assert store.history(old).tolist() == [2, 1]
    assert store.history(new).tolist() == [1, 0, 2]


def test_what_is_liked_counts_as_an_interaction_until_that_is_taken_back(store):
    store.judge("d", True, 1)
    store.judge("a", False, 9)
    store.judge("c", True, -1)
    assert items_of(store) == ["c", "a", "b", "d"]
    assert store.opinions() == {"a": False, "c": True, "d": True}
    store.judge("d", None, 10)
    store.judge("c", None, 10)
    assert items_of(store) == ["a", "b", "c"]
    assert store.opinions() == {"a": False}


@pytest.mark.parametrize(
    "bad", [("", 1), (" ", 1), ("\ud800", 1), ("a", 2**63), ("a", -(2**63) - 1)]
)
def test_what_no_file_could_hold_is_refused(bad):
    with pytest.raises(DataError, match="expected"):
        Interaction(*bad)


ITEMS = st.sampled_from("abcdef")
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), ITEMS, st.integers(-3, 3)),
        st.tuples(st.just("judge"), ITEMS, st.sampled_from([True, False, None])),
        st.tuples(st.just("forget"), ITEMS, st.just(0)),
        st.tuples(st.just("damage"), st.just(""), st.integers(0, 2**30)),
        st.tuples(st.just("reopen"), st.just(""), st.just(0)),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(actions=ACTIONS)
def test_a_store_is_a_dictionary_whatever_happens_to_its_file(actions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    store, times, order, liked = Store(folder), {}, [], {}
    for now, (action, item, value) in enumerate(actions):
        if action == "add":
            assert store.add([Interaction(item, value)]) == (item not in times)
            times[item] = min(value, times.get(item, value))
            order += [item] if item not in order else []
        elif action == "judge":
            store.judge(item, value, now)
            liked = {name: said for name, said in liked.items() if name != item}
            liked |= {} if value is None else {item: (value, now)}
        elif action == "forget":
            assert store.forget(item) == (item in times or item in liked)
            times.pop(item, None)
            liked.pop(item, None)
            order = [each for each in order if each != item]
        elif action == "damage":
            spoil(folder / FILE, value)
            store = Store(folder)
        else:
            store = Store(folder)
    rows = [(times[item], 0, order.index(item), item) for item in times]
    rows += [(at, 1, at, item) for item, (said, at) in liked.items() if said]
    best = {}
    for row in sorted(rows):
        best.setdefault(row[3], row)
    assert [(e.item, e.time) for e in store.interactions()] == [
        (row[3], row[0]) for row in sorted(best.values())
    ]
    assert store.opinions() == {item: said for item, (said, _) in liked.items()}


def spoil(file, how):
    """Cut it short, to nothing, or write over its first or any page's head."""
    content = bytearray(file.read_bytes())
    pages = len(content) // 4096
    if how % 4 == 0:
        content = content[: how // 4 % len(content)]
    elif how % 4 == 1:
        file.unlink()
        return
    elif how % 4 == 2:
        content[:16] = bytes(16)
    else:
        page = how // 4 % pages
        content[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    file.write_bytes(content)


def test_a_damaged_file_is_kept_aside_and_its_copy_takes_its_place(store, tmp_path, caplog):
    (tmp_path / "participation.jsonl").write_text("a record")
    (tmp_path / FILE).write_bytes(b"no database, and nothing of one" * 200)
    assert items_of(Store(tmp_path)) == ["a", "b", "c"]
    (line,) = caplog.messages
    assert "store.sqlite: was damaged, and is kept as store.sqlite.damaged-1; restored" in line
    assert (tmp_path / f"{FILE}.damaged-1").read_bytes().startswith(b"no database")
    assert (tmp_path / "participation.jsonl").read_text() == "a record"
    (tmp_path / FILE).write_bytes(b"again" * 2000)
    (tmp_path / COPY).write_bytes(b"this one too" * 2000)
    assert items_of(Store(tmp_path)) == []
    assert "no good copy of it is here, so it begins empty" in caplog.messages[-1]


def test_only_its_owner_may_read_it(tmp_path):
    old = os.umask(0)
    try:
        Store(tmp_path).add(did("a"))
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.glob("store*")}
        assert modes == dict.fromkeys((FILE, COPY, "store.lock"), 0o600)
        (tmp_path / FILE).chmod(0o644)
        Store(tmp_path)
        assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(old)


def test_a_file_of_the_first_form_is_brought_to_this_one(tmp_path):
    with closing(sqlite3.connect(tmp_path / FILE)) as database, database:
        database.executescript(_STEPS[0])
        rows = [("c", 2), ("b", 1), ("a", 2), ("d", 2)]
        database.executemany("INSERT INTO interactions VALUES (?, ?)", rows)
        database.execute("INSERT INTO opinions VALUES ('e', 1, 0)")
    assert items_of(Store(tmp_path)) == ["e", "b", "c", "a", "d"]
    assert items_of(Store(tmp_path)) == ["e", "b", "c", "a", "d"]


@pytest.mark.parametrize(
    ("pragmas", "message"),
    [
        ({"user_version": 99, "application_id": 0x53544152}, r"later starling \(version 99"),
        ({"user_version": 3}, "another program's"),
        ({"application_id": 5}, "another program's"),
    ],
)
def test_a_later_and_another_programs_file_are_refused_and_left_alone(pragmas, message, tmp_path):
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        database.execute("CREATE TABLE t (x)")
        for name, value in pragmas.items():
            database.execute(f"PRAGMA {name} = {value}")
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(DataError, match=message):
        Store(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


def test_a_full_disk_is_named_and_nothing_is_lost_or_half_kept(store, tmp_path):
    """A limit on the size of files stands for it, in a child: writes beyond it fail."""
    code = (
        "import sys, resource, signal; from pathlib import Path\n"
        "from client.store import Interaction, Store\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "store = Store(Path(sys.argv[1]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40960, 40960))\n"
        "for n in range(10000):\n"
        "    try: store.add([Interaction(f'{n}' * 99, n)])\n"
        "    except Exception as error: print(type(error).__name__, error); break\n"
        "    print(n, flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    *kept, said = done.stdout.splitlines()
    assert "DataError" in said
    assert "free some space" in said
    assert 3 < len(kept) < 10000
    found = items_of(Store(tmp_path))
    assert {n * 99 for n in kept} | set("abc") <= set(found)
    assert len(found) <= len(kept) + 4
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_process_loses_nothing_that_it_was_told_is_kept(seed, tmp_path):
    """kill -9 while it adds, likes and forgets, one after the other as fast as it can."""
    code = (
        "import sys; from pathlib import Path\n"
        "from client.store import Interaction, Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "for n in range(10**6):\n"
        "    store.add([Interaction(f'item {n}', n)]); print(n, flush=True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    enough = random.Random(seed).randrange(3, 40)
    kept = [child.stdout.readline() for _ in range(enough)]
    child.send_signal(signal.SIGKILL)
    kept += child.communicate()[0].splitlines(keepends=True)
    names = [f"item {line.strip()}" for line in kept if line.endswith("\n")]
    found = items_of(Store(tmp_path))
    assert len(names) >= enough
    assert found[: len(names)] == names
    assert len(found) <= len(names) + 1
    (tmp_path / FILE).write_bytes(b"damaged as well")
    assert items_of(Store(tmp_path))[: len(names)] == names


def test_several_write_at_once_and_the_copy_holds_all_of_it(store, tmp_path):
    def write(name):
        other = Store(tmp_path)
        for number in range(10):
            other.add([Interaction(f"{name}{number}", number)])

    writers = [threading.Thread(target=write, args=(name,)) for name in "xyz"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(items_of(store)) == 33
    (tmp_path / FILE).unlink()
    assert len(items_of(Store(tmp_path))) == 33


def test_what_is_forgotten_is_in_no_file(store, tmp_path):
    store.add(did(*(f"secret-{n}" for n in range(200))))
    store.judge("secret-7", True, 1)
    (tmp_path / f"{FILE}.damaged-1").write_bytes(b"secret-7")
    assert store.forget("secret-7")
    assert not store.forget("secret-7")
    assert len(items_of(store)) == 202
    files = list(tmp_path.iterdir())
    assert {FILE, COPY} <= {file.name for file in files}
    assert [file for file in files if b"secret-7\0" in file.read_bytes() + b"\0"] == []
    for number in range(200):
        store.forget(f"secret-{number}")
    assert [file for file in tmp_path.iterdir() if b"secret" in file.read_bytes()] == []


def test_an_erased_file_is_written_over_first(tmp_path, monkeypatch):
    file = tmp_path / "f"
    file.write_bytes(b"private")
    monkeypatch.setattr(type(file), "unlink", lambda self: None)
    erase(file)
    assert file.read_bytes() == bytes(7)
    monkeypatch.undo()
    erase(file)
    erase(file)
    assert not file.exists()
