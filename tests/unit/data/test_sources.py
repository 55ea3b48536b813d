"""Known names, where they are looked up, and that published sets load with their counts."""

import dataclasses
import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shared.data import sources
from shared.data.fetch import Archive
from shared.data.sources import fetch, known_sources, open_log
from shared.errors import DataError
from simulations.sources import open_population


def require(name: str) -> Path:
    """The folder of a known set; skips the test where it is absent."""
    folder = {source.name: source.folder for source in known_sources()}[name]
    if folder is None:
        pytest.skip(f"{name} is not on this machine (set STARLING_DATA)")
    return folder


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which no data set can be found; returns the (absent) cache folder."""
    monkeypatch.setattr(sources, "_places", lambda: iter([tmp_path / "cache"]))
    monkeypatch.setattr(sources, "_cache", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def test_movielens_100k() -> None:
    folder = require("movielens-100k")
    log = open_log("movielens-100k")
    assert (len(log), len(log.catalogue), log.interactions) == (943, 1682, 100_000)
    assert log.dropped == 0
    assert log.catalogue.texts[0] == "Toy Story (1995). Animation, Children's, Comedy"
    assert log.catalogue.item_ids[0] == "1"
    assert [log.user_id(user) for user in (0, 942)] == ["1", "943"]
    # User 196 rated item 242 at 881250949 (the first line of u.data).
    user = log.user_index("196")
    place = log.history(user).tolist().index(log.catalogue.index("242"))
    assert log.timestamps(user)[place] == 881250949
    assert all((np.diff(log.timestamps(user)) >= 0).all() for user in range(943))
    assert open_log(str(folder)).digest == log.digest


def test_movielens_1m() -> None:
    folder = require("movielens-1m")
    log = open_log("movielens-1m")
    assert (len(log), len(log.catalogue), log.interactions) == (6038, 3307, 835_789)
    assert log.dropped == 0
    assert log.catalogue.texts[:2] == (
        "Girl, Interrupted (1999). Drama",
        "Titanic (1997). Drama, Romance",
    )
    # Every line of train.txt is the same line here without its last item.
    for line in (folder / "train.txt").read_text().splitlines():
        user, *items = line.split()
        assert log.history(log.user_index(user))[:-1].tolist() == [int(item) for item in items]


def test_amazon_software() -> None:
    require("amazon-software")
    log = open_log("amazon-software")
    assert (len(log), len(log.catalogue)) == (1351, 778)
    assert log.interactions + log.dropped == 9322
    assert log.catalogue.texts[6].startswith(
        "The Rosetta Stone Spanish (Latin America) Level 1, 2 & 3"
    )


def test_unknown_names_list_the_known_ones_and_the_rule() -> None:
    with pytest.raises(DataError, match=r"'movielens'.*movielens-100k.*path to a folder"):
        open_log("movielens")
    with pytest.raises(DataError, match=r"'movielens'.*choose from movielens-100k"):
        fetch("movielens")


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Archive]:
    """Makes a file on this machine the publisher of MovieLens-100K: no test reaches the network."""
    monkeypatch.delenv("STARLING_OFFLINE", raising=False)

    def make(md5: str | None = None, name: str = "ml-100k.zip") -> Archive:
        small_movielens(tmp_path / "publisher" / "ml-100k")
        file = Path(
            shutil.make_archive(str(tmp_path / "ml-100k"), "zip", tmp_path / "publisher")
        ).with_name(name)
        digest = hashlib.md5(file.read_bytes()).hexdigest() if file.exists() else ""
        archive = Archive(file.as_uri(), md5 or digest)
        known = sources._SOURCES["movielens-100k"]
        published = dataclasses.replace(known, archive=archive)
        monkeypatch.setitem(sources._SOURCES, "movielens-100k", published)
        return archive

    return make


def test_an_absent_set_is_fetched_once_and_says_so(
    nowhere: Path, publish: Callable[..., Archive], capsys: pytest.CaptureFixture[str]
) -> None:
    archive = publish()
    assert len(open_log("movielens-100k")) == 2
    told = capsys.readouterr()
    assert told.err == f"data movielens-100k: not on this machine; fetching {archive.url}\n"
    assert told.out == ""
    assert (nowhere / "ml-100k" / "u.data").is_file()
    assert len(open_log("movielens-100k")) == 2
    assert capsys.readouterr().err == ""  # the second time it is there


def test_a_fetch_that_fails_says_why_and_how_to_get_it(
    nowhere: Path, publish: Callable[..., Archive]
) -> None:
    advice = r"run 'starling data fetch movielens-100k' or set STARLING_DATA to a folder.*"
    archive = publish(name="unreachable.zip")
    refuse(advice + rf"\({re.escape(archive.url)}: cannot be fetched \(.*No such file")
    publish(md5="0000")
    refuse(advice + r"MD5 \w+ instead of the published 0000\)$")
    assert not (nowhere / "ml-100k").exists()
    publish()
    shutil.rmtree(nowhere)
    nowhere.write_text("")  # a file where the cache should be: it cannot be made
    refuse(advice + r"\(.*File exists")


def refuse(message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_log("movielens-100k")
    assert "\n" not in str(caught.value)


def test_nothing_is_fetched_offline(
    nowhere: Path,
    publish: Callable[..., Archive],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    publish()
    monkeypatch.setenv("STARLING_OFFLINE", "1")
    refuse(r"run 'starling data fetch movielens-100k' or set STARLING_DATA.*ml-100k/$")
    assert capsys.readouterr().err == ""
    assert not nowhere.exists()
    monkeypatch.setenv("STARLING_OFFLINE", "0")
    assert len(open_log("movielens-100k")) == 2


def test_what_nobody_publishes_in_this_form_says_so(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STARLING_OFFLINE", raising=False)
    for act in (open_log, fetch):
        with pytest.raises(DataError, match=r"cannot be fetched.*STARLING_DATA.*ml-1m/"):
            act("movielens-1m")
    assert [source.folder for source in known_sources()] == [None, None, None]
    assert not nowhere.exists()


def test_the_variable_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_movielens(tmp_path / "ml-100k")
    monkeypatch.setenv("STARLING_DATA", str(tmp_path))
    log = open_log("movielens-100k")
    assert [log.history(user).tolist() for user in range(len(log))] == [[1, 0], [1]]
    assert [log.user_id(user) for user in range(2)] == ["9", "10"]
    assert log.catalogue.texts == ("Café (1990). Comedy", "Duel (1971). Action, Comedy")


def test_a_folder_beside_the_working_directory_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_movielens(tmp_path / "shared" / "data" / "ml-100k")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.delenv("STARLING_DATA", raising=False)
    assert len(open_log("movielens-100k")) == 2


def small_movielens(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "u.data").write_text("10\t2\t3\t5\n9\t1\t3\t7\n9\t2\t4\t6\n")
    (folder / "u.genre").write_text("Action|0\nComedy|1\n\n")
    items = "1|Café (1990)|||x|0|1\n2|Duel (1971)|||x|1|1\n"
    (folder / "u.item").write_bytes(items.encode("latin-1"))


def test_broken_published_files_name_file_and_row(tmp_path: Path) -> None:
    small_movielens(tmp_path / "ml")
    path = tmp_path / "ml" / "u.data"
    path.write_text("9\t1\t3\t7\n9\t1\t3\n")
    with pytest.raises(DataError, match=r"u\.data, row 2: 3 fields, expected 4"):
        open_log(str(tmp_path / "ml"))
    path.write_text("9\t1\t3\t7\n9\t77\t3\t8\n")
    with pytest.raises(DataError, match=r"u\.data, row 2: not a rating of a listed item"):
        open_log(str(tmp_path / "ml"))
    (tmp_path / "ml" / "u.genre").unlink()
    with pytest.raises(DataError, match=r"u\.genre: cannot be read"):
        open_log(str(tmp_path / "ml"))


def test_sequences_are_read_in_order_and_checked(tmp_path: Path) -> None:
    items = 'org_id remap_id title category\nX 0 "One &amp; only" A|B\nY 1 Two ""\n'
    (tmp_path / "item_list.txt").write_text(items)
    (tmp_path / "test.txt").write_text("5 1 0\n6\n7 0\n")
    log = open_log(str(tmp_path))
    assert log.catalogue.texts == ("One & only. A, B", "Two")
    assert [log.history(user).tolist() for user in range(3)] == [[1, 0], [], [0]]
    (tmp_path / "test.txt").write_text("5 1 0\n6 2\n")
    with pytest.raises(DataError, match=r"test\.txt, row 2: item '2' is not in item_list"):
        open_log(str(tmp_path))
    (tmp_path / "item_list.txt").write_text(items + "Z 2\n")
    with pytest.raises(DataError, match=r"item_list\.txt, row 4: 2 fields, expected 4"):
        open_log(str(tmp_path))


def test_open_population_takes_the_first_users(tmp_path: Path) -> None:
    small_movielens(tmp_path / "ml")
    assert len(open_population(str(tmp_path / "ml"))) == 2
    assert len(open_population(str(tmp_path / "ml"), users=1)) == 1
    with pytest.raises(DataError, match=r"data\.users = 3"):
        open_population(str(tmp_path / "ml"), users=3)
    assert len(open_population("world")) == 600
    assert len(open_population("world", users=10**9)) == 10**9
    first, second = (open_population("world", world_seed=seed) for seed in (0, 1))
    assert first.history(0).tolist() != second.history(0).tolist()
