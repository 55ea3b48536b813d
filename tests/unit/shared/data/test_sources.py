"""Known names, where they are looked up, and that published sets load with their counts."""

import dataclasses
import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shared.config import DataConfig, WorldConfig
from shared.data import sources
from shared.data.fetch import Archive
from shared.data.sources import fetch, known_sources, open_log
from shared.errors import DataError
from simulations.world.sources import open_population


def require(name: str) -> Path:
    """The folder of a known set; skips the test where it is absent."""
    folder = {source.name: source.folder for source in known_sources()}[name]
    if folder is None:
        pytest.skip(f"{name} is not on this machine (set STARLING_DATA)")
    return folder


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which no data set can be found; returns the (absent) cache folder."""
    monkeypatch.setattr(sources, "places", lambda: iter([tmp_path / "cache"]))
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


def test_movielens_latest_small() -> None:
    folder = require("movielens-latest-small")
    log = open_log("movielens-latest-small")
    assert (len(log), len(log.catalogue), log.interactions) == (610, 9742, 100_836)
    assert log.dropped == 0
    assert len({int(item) for user in range(610) for item in log.history(user)}) == 9724
    assert log.catalogue.texts[0] == (
        "Toy Story (1995). Adventure, Animation, Children, Comedy, Fantasy"
    )
    assert log.catalogue.texts[10] == "American President, The (1995). Comedy, Drama, Romance"
    # A film without genres is its title alone.
    assert log.catalogue.texts[log.catalogue.index("114335")] == "La cravate (1957)"
    # The first line of ratings.csv.
    user = log.user_index("1")
    place = log.history(user).tolist().index(log.catalogue.index("1"))
    assert log.timestamps(user)[place] == 964982703
    assert open_log(str(folder)).digest == log.digest


def test_amazon_arts_office() -> None:
    folder = require("amazon-arts-office")
    log = open_log("amazon-arts-office")
    assert (len(log), len(log.catalogue)) == (8000 + 577 + 1000, 18_639 + 19_757)
    assert log.interactions + log.dropped == 206_661 + 1_880
    assert log.catalogue.item_ids == tuple(str(item) for item in range(38_396))
    assert log.catalogue.texts[3] == (
        "omnigrid 60mm rotary cutter. arts crafts sewing sewing quilting rotary cutters omnigrid"
    )
    assert log.catalogue.texts[18_639].startswith("ld remanufactured ink cartridge replacement")
    # The first user of each file: Office's last item, then Arts'.
    for user, last in (("0", [22212, 9]), ("8000", [26645, 11203]), ("9000", [6199, 11436])):
        assert log.history(log.user_index(user))[-2:].tolist() == last
    assert open_log(str(folder)).digest == log.digest


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
        with pytest.raises(DataError, match=r"no checksum holds; unpack ml-latest-small\.zip"):
            act("movielens-latest-small")
    assert [source.folder for source in known_sources()] == [None] * 5
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
    with pytest.raises(DataError, match=r"u\.data, row 2: item '77' is not in u.item"):
        open_log(str(tmp_path / "ml"))
    (tmp_path / "ml" / "u.genre").unlink()
    with pytest.raises(DataError, match=r"u\.genre: cannot be read"):
        open_log(str(tmp_path / "ml"))


def test_latest_files_are_checked(tmp_path: Path) -> None:
    films = 'movieId,title,genres\n7,"Duel, The (1971)",Action|Comedy\n9,Rain,(no genres listed)\n'
    (tmp_path / "movies.csv").write_text(films)
    path = tmp_path / "ratings.csv"
    path.write_text("userId,movieId,rating,timestamp\n10,9,0.5,7\n9,7,4,8\n9,9,4,6\n")
    log = open_log(str(tmp_path))
    assert log.catalogue.texts == ("Duel, The (1971). Action, Comedy", "Rain")
    assert [log.user_id(user) for user in range(2)] == ["9", "10"]
    assert [log.history(user).tolist() for user in range(2)] == [[1, 0], [1]]
    for row, rule in (
        ("9,8,4,8", "item '8' is not in movies.csv"),
        ("9,7,4,late", "timestamp 'late' is neither"),
        ("x,7,4,8", "userId 'x' is not a user's number"),
    ):
        path.write_text(f"userId,movieId,rating,timestamp\n9,7,4,8\n{row}\n")
        with pytest.raises(DataError, match=rf"ratings\.csv, row 3: {rule}"):
            open_log(str(tmp_path))


def two_shops(folder: Path, train: str) -> None:
    header = "idBefore,item_title,idAfter,item_attribute\n"
    (folder / "item_listA_F.csv").write_text(header + "5,pen,0,arts\n6,ink,1,\n")
    (folder / "item_listO_AA_F.csv").write_text(header + "5,desk,2,office\n9,lamp,3,office\n")
    (folder / "train_F2.txt").write_text(train)
    (folder / "test_F2.txt").write_text("7\t1\t1|0|0\t3|1|1\t\n7\t1\t1|0|0\t0|1|1\t\n")
    (folder / "valid_F2.txt").write_text("")


def test_two_shops_are_read_in_order_and_checked(tmp_path: Path) -> None:
    shared = "0\t2\t0|0|0\t2|1|1\t"
    two_shops(tmp_path, f"{shared}3|2|2\t\n{shared}1|2|2\t\n")
    log = open_log(str(tmp_path))
    assert log.catalogue.texts == ("pen. arts", "ink", "desk. office", "lamp. office")
    assert [log.user_id(user) for user in range(2)] == ["0", "7"]
    assert [log.history(user).tolist() for user in range(2)] == [[0, 2, 3, 1], [1, 3, 0]]
    for train, message in (
        (f"{shared}3|2|2\t\n{shared}9|2|2\t\n", "row 2: item '9' is not in item_listA_F.csv or"),
        (f"{shared}3|2|2\t\n0\t2\t0|0|0\t3|1|1\t1|2|2\n", "row 2: does not share the history"),
        (f"{shared}3|2|2\t\n", "row 2: expected a user, a number n"),
        ("0\t9\t1|0|0\n", "row 1: expected a user, a number n and n \\+ 1 items"),
    ):
        two_shops(tmp_path, train)
        with pytest.raises(DataError, match=rf"train_F2\.txt, {message}"):
            open_log(str(tmp_path))


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
    with pytest.raises(DataError, match=r"item_list\.txt, row 4: 2 fields, the header names 4"):
        open_log(str(tmp_path))


def test_open_population_takes_the_first_users(tmp_path: Path) -> None:
    small_movielens(tmp_path / "ml")
    spec = str(tmp_path / "ml")
    assert len(open_population(DataConfig(spec=spec))) == 2
    assert len(open_population(DataConfig(spec=spec, users=1))) == 1
    with pytest.raises(DataError, match=r"data\.users = 3"):
        open_population(DataConfig(spec=spec, users=3))


def test_open_population_makes_the_world_of_the_settings() -> None:
    plain = open_population(DataConfig())
    assert (len(plain), len(plain.catalogue)) == (600, 300)
    assert len(open_population(DataConfig(users=10**9))) == 10**9
    assert len(open_population(DataConfig(world_items=40)).catalogue) == 40
    other = open_population(DataConfig(world_seed=1))
    deep = open_population(DataConfig(), WorldConfig(drift=1.0))
    assert plain.history(0).tolist() != other.history(0).tolist()
    assert plain.history(0).tolist() != deep.history(0).tolist()
    assert plain.digest != deep.digest
