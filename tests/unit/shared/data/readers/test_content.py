"""Files that are none, or packed, or in another encoding, and the columns that they name."""

import bz2
import gzip
import os
import re
import shlex
import socket
from pathlib import Path

import pytest

from shared.config import DataConfig
from shared.data.population import Population
from shared.data.readers.columns import parse_columns, read_log
from shared.data.sources import open_log
from shared.errors import ConfigError, DataError
from simulations.world.sources import open_population
from tests.support.writing import ITEMS, ROWS, csv, movielens_100k


@pytest.mark.parametrize("name", ["interactions.csv", "items.csv", "interactions.csv.gz"])
def test_a_pipe_is_refused_at_once(tmp_path: Path, name: str) -> None:
    csv(tmp_path, ROWS, ITEMS)
    (tmp_path / name.removesuffix(".gz")).unlink()
    os.mkfifo(tmp_path / name)  # nobody ever writes into it
    with pytest.raises(DataError, match=rf"{name}: is a named pipe; write its content into a file"):
        open_log(str(tmp_path))


def test_other_things_that_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    csv(tmp_path, ROWS, ITEMS)
    monkeypatch.chdir(tmp_path)  # a socket's name may not be long
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.csv")
        with pytest.raises(DataError, match="is a socket"):
            open_log("socket.csv")
    (tmp_path / "device.parquet").symlink_to("/dev/zero")
    with pytest.raises(DataError, match="is a device"):
        open_log("device.parquet")
    (tmp_path / "parts.parquet").mkdir()
    with pytest.raises(DataError, match=r"parts.parquet: is a folder.*join its parts"):
        open_log("parts.parquet")
    (tmp_path / "dangling.csv").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"dangling\.csv: is a link to nowhere that leads to no f"):
        open_log("dangling.csv")


def test_broken_packing_is_refused(tmp_path: Path) -> None:
    csv(tmp_path, ROWS, ITEMS)
    content = (tmp_path / "interactions.csv").read_bytes()
    for name, packed in (
        ("cut.csv.gz", gzip.compress(content)[:-9]),
        ("altered.csv.bz2", bz2.compress(content)[:-9]),
        ("no.csv.gz", content),
        ("no.csv.xz", content),
    ):
        (tmp_path / name).write_bytes(packed)
        with pytest.raises(DataError, match=rf"{name}: not a whole {Path(name).suffix} file"):
            read_log(tmp_path / name)
    for name in ("log.csv.zst", "log.csv.zip", "log.tar"):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(DataError, match=rf"{name}: unknown kind of file.*unpack it first"):
            read_log(tmp_path / name)


def test_a_text_of_any_length_is_read(tmp_path: Path) -> None:
    long = "long " * 60_000
    items = [*ITEMS[:2], ("12", long)]
    assert read_log(csv(tmp_path, ROWS, items)).catalogue.texts[2] == long


def test_u_item_is_read_in_the_encoding_it_is_in(tmp_path: Path) -> None:
    logs = []
    for encoding in ("latin-1", "utf-8", "utf-8-sig"):
        folder = tmp_path / encoding
        folder.mkdir()
        film = movielens_100k(folder, ROWS, ITEMS) / "u.item"
        film.write_bytes(film.read_bytes().decode("latin-1").encode(encoding))
        for name in ("u.data", "u.genre", "u.item"):
            lines = (folder / name).read_bytes()
            (folder / name).write_bytes(lines.replace(b"\n", b"\r\n"))
        logs.append(open_log(str(folder)))
    assert logs[0].catalogue.texts[2] == "Café. Drama"
    assert len({log.digest for log in logs}) == 1
    film.write_bytes("1|CafÃ©||||0|1\n2|B||||0|1\n".encode())
    with pytest.raises(DataError, match=r"u\.item, row 1: title 'CafÃ©' is UTF-8 that was read as"):
        open_log(str(folder))


def named(folder: Path, interactions: str, items: str = "item,text") -> Path:
    csv(folder, ROWS, ITEMS)
    for name, header in (("interactions", interactions), ("items", items)):
        path = folder / f"{name}.csv"
        lines = path.read_text(encoding="utf-8").split("\n")
        path.write_text("\n".join((header, *lines[1:])), encoding="utf-8")
    return folder


def test_columns_are_mapped(tmp_path: Path) -> None:
    for number, (interactions, items, columns) in enumerate(
        (
            (
                "userId,movieId,ts",
                "movieId,title",
                "user=userId,item=movieId,timestamp=ts,text=title",
            ),
            ("userId,movieId,timestamp", "item,text", "user=userId,item=movieId"),
            ("user,item,timestamp", "asin,text", "item=asin"),
            ("user, item,time stamp", "item,text", "item= item, timestamp=time stamp"),
        )
    ):
        (folder := tmp_path / str(number)).mkdir()
        named(folder, interactions, items)
        log = open_population(DataConfig(spec=str(folder), columns=columns))
        assert log.digest == read_log(csv(folder, ROWS, ITEMS)).digest


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        ("user", r"data\.columns = 'user': 'user' is not ROLE=COLUMN"),
        ("user=", "is not ROLE=COLUMN"),
        ("person=userId", "'person=userId' is not ROLE=COLUMN"),
        ("user=a,user=b", "'user=b' is not ROLE=COLUMN"),
        ("user=a,item=a", "one column has two roles"),
        ("", "is not ROLE=COLUMN"),
    ],
)
def test_mistaken_columns_are_refused(columns: str, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        parse_columns(columns)


ADVICE = re.compile(r"say --columns (.+)$")


@pytest.mark.parametrize(
    ("interactions", "items", "renamed"),
    [
        ("userId,movieId,ts", "movieId,title", ""),
        ("user, item,time", "asin,name", "'asin' is near: rename it ' item'"),
        ("user,item id,timestamp", "item id,text", ""),
        ('"u,ser",item,timestamp', "item,text", "'u,ser' is near: rename it 'user'"),
        ('"user\n",item,timestamp', "item,text", r"'user\n' is near: rename it 'user'"),
        ("user,itemid,timestamp", "item_idx,title", "'item_idx' is near: rename it 'itemid'"),
        ("user,user_name,when", "item,item_text", "rename one 'item'"),
    ],
)
def test_advice_can_be_followed(
    tmp_path: Path, interactions: str, items: str, renamed: str
) -> None:
    """Word for word, until the log is read; a name that no words can say is to be changed."""
    named(tmp_path, interactions, items)
    said: str | None = None
    for _ in range(6):
        log, error = opened(tmp_path, said)
        if log is not None:
            break
        assert "\n" not in error
        advice = ADVICE.search(error)
        assert (advice is None) == (renamed in error if renamed else False), error
        if advice is None:
            return
        (said,) = shlex.split(advice[1])
    assert log is not None
    assert not renamed
    assert log.digest == read_log(csv(tmp_path, ROWS, ITEMS)).digest


def opened(folder: Path, columns: str | None) -> tuple[Population | None, str]:
    """The log, or why there is none."""
    try:
        return open_population(DataConfig(spec=str(folder), columns=columns)), ""
    except DataError as error:
        return None, str(error)


def test_columns_that_nothing_has_are_refused(tmp_path: Path) -> None:
    csv(tmp_path, ROWS, ITEMS)
    with pytest.raises(
        DataError, match=r"row 1: no column 'who' \(columns: user, .* say --columns user=user"
    ):
        read_log(tmp_path, {"user": "who"})
    with pytest.raises(DataError, match=r"neither .* nor items.* has a column 'asin'"):
        read_log(tmp_path, {"item": "asin"})
    with pytest.raises(ConfigError, match="the world has no files"):
        open_population(DataConfig(columns="user=u"))
    (tmp_path / "ml").mkdir()
    movielens_100k(tmp_path / "ml", ROWS, ITEMS)
    with pytest.raises(
        DataError, match="published form, which has columns of its own; leave --col"
    ):
        open_log(str(tmp_path / "ml"), {"user": "u"})


@pytest.mark.parametrize(
    ("header", "near"),
    [
        ("userId,item,timestamp", "'userId' is near.*--columns user=userId"),
        ("User,item,timestamp", "'User' is near"),
        ("user_id,item,timestamp", "'user_id' is near"),
        (" user,item,timestamp", r"columns: ' user', item.*' user' is near.*'user= user'"),
        ("user,movieId,timestamp", "no column 'item'.*'movieId' is near"),
        ("user,asin,timestamp", "'asin' is near"),
        ("user,item,time", "no column 'timestamp'.*'time' is near"),
        ("user,item,unixReviewTime", "'unixReviewTime' is near"),
        ("reviewerID,item,timestamp", "'reviewerID' is near"),
        ("a,item,timestamp", "say which with --columns user=NAME$"),
        ("1,10,100", "the first line must name the columns$"),
    ],
)
def test_a_column_of_another_name_is_named(tmp_path: Path, header: str, near: str) -> None:
    with pytest.raises(DataError, match=near):
        read_log(named(tmp_path, header))
