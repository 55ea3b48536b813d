"""A folder that holds two logs is refused, naming both: to choose would bring people back."""

import gzip
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.config import DataConfig
from shared.data.sources import open_log
from shared.errors import DataError
from simulations.world.sources import open_population
from tests.support.writing import FORMS, ITEMS, ROWS

LOGS = {
    "csv": "interactions.csv",
    "parquet": "interactions.parquet",
    "movielens-100k": "u.data",
    "movielens-latest": "ratings.csv",
    "sequences": "test.txt",
    "two shops": "train_F2.txt",
}


@pytest.mark.parametrize("pair", [*itertools.combinations(FORMS, 2)], ids=" and ".join)
def test_two_forms(tmp_path: Path, pair: tuple[str, str]) -> None:
    for form in pair:
        FORMS[form](tmp_path, ROWS, ITEMS)
    with pytest.raises(DataError) as raised:
        open_log(str(tmp_path))
    assert all(LOGS[form] in str(raised.value) for form in pair)
    assert "\n" not in str(raised.value)
    assert "remove one, or" in str(raised.value) or "keep one" in str(raised.value)
    if "csv" in pair and "parquet" not in pair:  # its own file says which one is meant
        assert len(open_log(str(tmp_path / "interactions.csv"))) == 2


@pytest.mark.parametrize("form", FORMS)
def test_a_packed_twin(tmp_path: Path, form: str) -> None:
    FORMS[form](tmp_path, ROWS[:2], ITEMS)
    log = LOGS[form].replace(".parquet", ".csv")
    (tmp_path / f"{log}.gz").write_bytes(gzip.compress(b"anything"))
    with pytest.raises(DataError, match=rf"{log}\.gz"):
        open_log(str(tmp_path))


OTHERS = {  # beside a log of each form, what may be another
    "csv": (
        "interactions.CSV",
        "Interactions.csv",
        "interactions.orc",
        "interactions",
        "ratings.dat",
    ),
    "parquet": ("INTERACTIONS.PARQUET", "interactions.xlsx", "interactions.csv", "U.DATA"),
    "movielens-100k": (
        "u.data.7z",
        "U.data",
        "interactions.tsv",
        "interactions.csv.zip",
        "items.txt",
    ),
    "movielens-latest": (
        *("interactions.CSV", "Interactions.csv", "interactions.tsv", "interactions.json"),
        *("interactions.csv.zst", "INTERACTIONS.PARQUET", "interactions.csv", "interactions"),
        *(
            "ratings.dat",
            "RATINGS.csv",
            "ratings.parquet",
            "u.data",
            "train_F2.txt.gz",
            "Items.csv",
        ),
    ),
    "sequences": ("TEST.txt", "test.txt.zst", "interactions.csv", "ratings.tsv", "interactions.db"),
    "two shops": ("train_f2.txt", "train_F2.txt.bz2", "interactions.feather", "test.txt"),
}
KINDS: dict[str, Callable[[Path], object]] = {
    "file": lambda path: path.write_bytes(b"anything"),
    "folder": lambda path: path.mkdir(),
    "link that leads nowhere": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_what_may_be_another_log(tmp_path: Path, form: str, kind: str) -> None:
    for number, other in enumerate(OTHERS[form]):
        (folder := tmp_path / str(number)).mkdir()
        FORMS[form](folder, ROWS, ITEMS)
        KINDS[kind](folder / other)
        with pytest.raises(DataError) as raised:
            open_log(str(folder))
        assert "holds two logs or parts of them" in str(raised.value) or "keep one" in str(
            raised.value
        )
        assert other in str(raised.value)


@pytest.mark.parametrize(
    ("form", "name", "other"),
    [
        ("movielens-100k", "u.item", "u.item.gz"),
        ("movielens-100k", "u.genre", "U.GENRE"),
        ("movielens-latest", "movies.csv", "movies.csv.gz"),
        ("movielens-latest", "movies.csv", "movies.dat"),
        ("sequences", "item_list.txt", "item_list.txt.xz"),
        ("two shops", "valid_F2.txt", "valid_F2.txt.gz"),
        ("two shops", "item_listA_F.csv", "item_listA_F.parquet"),
    ],
)
def test_two_of_another_published_file(tmp_path: Path, form: str, name: str, other: str) -> None:
    FORMS[form](tmp_path, ROWS, ITEMS)
    (tmp_path / other).write_bytes(b"anything")
    with pytest.raises(DataError, match=rf"both {name} and {other}; keep one"):
        open_log(str(tmp_path))


def test_what_is_no_other_log(tmp_path: Path) -> None:
    """What publishers put beside their logs, backups and notes."""
    for form, names in {
        "csv": (
            "README.md",
            "interactions.csv.bak",
            "interactions.py",
            "test",
            "train.txt",
            "u.item",
        ),
        "movielens-100k": ("README", "u.user", "u.info", "ua.base", "u1.test"),
        "movielens-latest": ("README.txt", "links.csv", "tags.csv", "test"),
        "sequences": ("train.txt", "movies.dat", "users.dat", "user_list.txt"),
    }.items():
        (folder := tmp_path / form).mkdir()
        FORMS[form](folder, ROWS, ITEMS)
        for name in names:
            (folder / name).write_bytes(b"anything")
        assert len(open_log(str(folder))) == 2


@pytest.mark.parametrize("other", ["items.csv.gz", "items.tsv", "items.csv.zst", "items.json"])
def test_two_items_files(tmp_path: Path, other: str) -> None:
    FORMS["csv"](tmp_path, ROWS, ITEMS)
    (tmp_path / other).write_bytes(b"anything")
    with pytest.raises(DataError, match=rf"both items\.csv and {other}; keep one"):
        open_log(str(tmp_path))


def test_part_of_another_log(tmp_path: Path) -> None:
    FORMS["csv"](tmp_path, ROWS, ITEMS)
    (tmp_path / "u.data").write_text("1\t10\t3\t100\n")
    with pytest.raises(DataError, match=r"interactions\.csv and u\.data"):
        open_log(str(tmp_path))
    (tmp_path / "own").mkdir()
    FORMS["movielens-latest"](tmp_path / "own", ROWS, ITEMS)
    (tmp_path / "own" / "items.csv").write_text("item,text\n")
    with pytest.raises(DataError, match=r"items\.csv and ratings\.csv; remove one, or keep each"):
        open_log(str(tmp_path / "own"))


def test_a_known_name_and_its_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARLING_DATA", str(tmp_path))
    (published := tmp_path / "ml-100k").mkdir()
    FORMS["movielens-100k"](published, ROWS, ITEMS)
    assert len(open_log("movielens-100k")) == 2
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (twin := tmp_path / "here" / "movielens-100k").mkdir()
    assert len(open_log("movielens-100k")) == 2  # an empty folder is no log
    FORMS["csv"](twin, ROWS[:2], ITEMS)
    with pytest.raises(
        DataError, match=r"a known name \(at .*\) and a folder here; write \./movie"
    ):
        open_log("movielens-100k")
    assert len(open_log("./movielens-100k")) == 1
    monkeypatch.chdir(tmp_path)
    FORMS["csv"](published, ROWS, ITEMS)
    with pytest.raises(
        DataError, match=r"holds two logs or parts of them, interactions\.csv and u"
    ):
        open_log("movielens-100k")
    for name in ("interactions.csv", "items.csv", "u.item"):
        (published / name).unlink()
    # What is left of it was somebody's choice: another place is not looked at instead.
    with pytest.raises(DataError, match=r"ml-100k: lacks u\.item; put it back"):
        open_log("movielens-100k")


def test_a_folder_called_world_is_not_the_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(open_population(DataConfig(users=3))) == 3
    assert capsys.readouterr().err == ""
    (tmp_path / "world").mkdir()
    FORMS["csv"](tmp_path / "world", ROWS, ITEMS)
    assert len(open_population(DataConfig(users=3))) == 3
    assert "write ./world for the folder here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("ml.inter", "looks like a folder of RecBole"),
        ("reviews.json", "looks like reviews or events in JSON"),
        ("reviews.jsonl.gz", "looks like reviews or events in JSON"),
        ("ratings.dat", "looks like MovieLens-1M in its publisher's files"),
        ("train.txt", "looks like lists of item numbers"),
        ("part-0000.parquet", "looks like a table in parts"),
        (
            "interactions.tsv",
            r"no interactions\.csv or interactions\.parquet.*interactions\.tsv: unkn",
        ),
        ("u.data", r"no interactions\.csv"),
        (
            "Interactions.csv",
            r"no interactions\.csv .*Interactions\.csv: rename it interactions\.csv",
        ),
    ],
)
def test_what_a_folder_looks_like_is_said(tmp_path: Path, name: str, what: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=what):
        open_log(str(tmp_path))


def test_lists_of_numbers_are_told_from_sequences_with_titles(tmp_path: Path) -> None:
    (tmp_path / "item_list.txt").write_text("org_id remap_id\nx 0\ny 1\n")
    (tmp_path / "test.txt").write_text("0 0 1\n")
    rule = r"item_list\.txt, row 1: columns 'org_id remap_id', expected 'org_id remap_id title cat"
    with pytest.raises(
        DataError, match=rule + r".*taken for sequences as movielens-1m is published"
    ):
        open_log(str(tmp_path))
    with pytest.raises(DataError, match="one of the files of a published log; give its folder"):
        open_log(str(tmp_path / "test.txt"))


@pytest.mark.parametrize("form", ["sequences", "two shops"])
def test_a_user_is_listed_once(tmp_path: Path, form: str) -> None:
    FORMS[form](tmp_path, ROWS, ITEMS)
    path = tmp_path / LOGS[form]
    path.write_text(path.read_text() * 2)
    with pytest.raises(DataError, match=r"row \d: user '[12]' is listed twice"):
        open_log(str(tmp_path))
