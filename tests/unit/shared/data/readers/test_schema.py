"""Files in the documented columns: what is read, and what is refused, with file, row and rule."""

from pathlib import Path

import pandas as pd
import pytest

from shared.data.readers.columns import read_log
from shared.data.sources import open_log
from shared.errors import DataError

ITEMS = "item,text\na,Alpha\nb,Beta\nc,Gamma\n"
GOOD = "user,item,timestamp\nu,a,1\nu,b,2\n"


def write(folder: Path, interactions: str | bytes = GOOD, items: str | bytes = ITEMS) -> Path:
    for name, content in (("interactions.csv", interactions), ("items.csv", items)):
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def test_a_folder_and_its_file_read_the_same(tmp_path: Path) -> None:
    write(tmp_path, "timestamp,note,user,item\n2,x,u,b\n1,,u,a\n3.5,x,v,c\n")
    for spec in (tmp_path, tmp_path / "interactions.csv"):
        log = open_log(str(spec))
        assert [log.history(user).tolist() for user in range(len(log))] == [[0, 1], [2]]
        assert [log.user_id(user) for user in range(len(log))] == ["u", "v"]


def test_quotes_byte_order_mark_crlf_and_blank_lines_are_read(tmp_path: Path) -> None:
    items = '\ufeffitem,text\r\na,"Alpha, the ""first"""\r\n\r\nb,"Two\nlines"\r\n'
    log = read_log(write(tmp_path, items=items))
    assert log.catalogue.texts == ('Alpha, the "first"', "Two\nlines")


def test_parquet_reads_as_csv_does(tmp_path: Path) -> None:
    csv, parquet = tmp_path / "csv", tmp_path / "parquet"
    csv.mkdir()
    parquet.mkdir()
    write(csv, "user,item,timestamp\n7,2,30\n7,1,10\n8,2,20\n", "item,text\n1,One\n2,Two\n")
    for name in ("interactions", "items"):
        pd.read_csv(csv / f"{name}.csv").to_parquet(parquet / f"{name}.parquet")
    assert read_log(parquet).digest == read_log(csv).digest
    assert read_log(parquet / "interactions.parquet").digest == read_log(csv).digest


def test_dates_are_read_in_csv_and_parquet(tmp_path: Path) -> None:
    dates = ["2024-03-01T12:00:00+02:00", "2024-03-01T09:59:59Z", "2024-03-01 10:00:01+00"]
    rows = "".join(f"u,{item},{date}\n" for item, date in zip("abc", dates, strict=True))
    log = read_log(write(tmp_path, "user,item,timestamp\n" + rows))
    assert log.history(0).tolist() == [1, 0, 2]
    assert log.span == (1709287199.0, 1709287201.0)
    table = pd.read_csv(tmp_path / "interactions.csv")
    table["timestamp"] = pd.to_datetime(table["timestamp"], format="ISO8601", utc=True)
    table.to_parquet(tmp_path / "dated.parquet")
    assert read_log(tmp_path / "dated.parquet").span == log.span


HEADER = "user,item,timestamp\n"
REFUSED = {
    "empty file": (b"", ITEMS, r"interactions\.csv: the file is empty"),
    "header only": (HEADER, ITEMS, r"interactions\.csv: no rows"),
    "missing column": ("user,item\nu,a\n", ITEMS, r"interactions\.csv, row 1: no column 'time"),
    "column twice": ("user,item,timestamp,item\nu,a,1,b\n", ITEMS, "row 1: more than one .*'item'"),
    "missing timestamp": (GOOD + "u,c,\n", ITEMS, r"interactions\.csv, row 4: timestamp is empty"),
    "nan timestamp": (GOOD + "u,c,nan\n", ITEMS, "row 4: timestamp 'nan'"),
    "infinite timestamp": (GOOD + "u,c,inf\n", ITEMS, "row 4: timestamp 'inf'"),
    "timestamp too large": (GOOD + "u,c,1e999\n", ITEMS, "row 4: timestamp '1e999'"),
    "timestamp in words": (GOOD + "u,c,soon\n", ITEMS, "row 4: timestamp 'soon'"),
    "only words": (HEADER + "u,c,soon\n", ITEMS, "row 2: timestamp 'soon'"),
    "one date among numbers": (GOOD + "u,c,2024-03-01\n", ITEMS, "row 4: timestamp '2024"),
    "empty user": (GOOD + ",c,3\n", ITEMS, "row 4: user is empty"),
    "blank item": (GOOD + "u, ,3\n", ITEMS, "row 4: item is empty"),
    "unknown item": (GOOD + "u,z,3\n", ITEMS, r"interactions\.csv, row 4: item 'z' is not in"),
    "too few fields": (GOOD + "u,c\n", ITEMS, "row 4: 2 fields, the header names 3"),
    "too many fields": (GOOD + "u,c,3,4\n", ITEMS, "row 4: 4 fields, the header names 3"),
    "row after a blank line": (GOOD + "\n\nu,z,3\n", ITEMS, "row 6: item 'z'"),
    "not UTF-8": (GOOD.encode() + b"u\xe9,c,3\n", ITEMS, r"row 4: not UTF-8 \(byte 0xe9\)"),
    "UTF-16": (GOOD.encode("utf-16"), ITEMS, "row 1: not UTF-8"),
    "open quote": (GOOD + '"u,c,3\n', ITEMS, "row 4: not readable as CSV"),
    "one item": (GOOD, "item,text\na,Alpha\n", r"items\.csv, row 2: .*1 item\(s\); at least 2"),
    "item twice": (GOOD, ITEMS + "a,Again\n", r"items\.csv, row 5: item 'a' is listed twice"),
    "no text": (GOOD, ITEMS + "d,\n", r"items\.csv, row 5: text is empty"),
    "items not UTF-8": (GOOD, ITEMS.encode() + b"d,caf\xe9\n", r"items\.csv, row 5: not UTF-8"),
    "row after lines in quotes": (GOOD, 'item,text\na,"x\ny"\nb,\n', r"items\.csv, row 4: text"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line_with_file_row_and_rule(tmp_path: Path, case: str) -> None:
    interactions, items, message = REFUSED[case]
    with pytest.raises(DataError, match=message) as raised:
        read_log(write(tmp_path, interactions, items))
    assert "\n" not in str(raised.value)
    assert str(tmp_path) in str(raised.value)
    assert raised.value.exit_code == 2


def test_missing_and_doubled_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no interactions\.csv or interactions\.parquet"):
        read_log(tmp_path)
    (tmp_path / "log.csv").write_text(GOOD)
    with pytest.raises(DataError, match=r"no items\.csv or items\.parquet"):
        read_log(tmp_path / "log.csv")
    with pytest.raises(DataError, match="no such file"):
        read_log(tmp_path / "none.csv")
    write(tmp_path)
    (tmp_path / "log.txt").write_text(GOOD)
    with pytest.raises(DataError, match="unknown kind of file"):
        read_log(tmp_path / "log.txt")
    (tmp_path / "items.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"both items\.csv and items\.parquet; keep one"):
        read_log(tmp_path)


def test_broken_parquet_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    broken = tmp_path / "log.parquet"
    broken.write_bytes(b"not parquet at all")
    with pytest.raises(DataError, match="not a Parquet file"):
        read_log(broken)
    table = pd.DataFrame({"user": ["u", None], "item": ["a", "b"], "timestamp": [1, 2]})
    table.to_parquet(broken)
    with pytest.raises(DataError, match=r"log\.parquet, row 2: user is empty"):
        read_log(broken)
    table = pd.DataFrame({"user": ["u", "u"], "item": ["a", "b"], "timestamp": [1, None]})
    table.to_parquet(broken)
    with pytest.raises(DataError, match=r"log\.parquet, row 2: timestamp is empty"):
        read_log(broken)
    table.drop(columns="item").to_parquet(broken)
    with pytest.raises(DataError, match="no column 'item'"):
        read_log(broken)


def test_one_interaction_is_a_log(tmp_path: Path) -> None:
    log = read_log(write(tmp_path, HEADER + "u,b,1\n"))
    assert (len(log), log.interactions, log.history(0).tolist()) == (1, 1, [1])
