"""One log written in many ways: every reading gives the same log, or a refusal."""

import bz2
import gzip
import lzma
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.data.log import InteractionLog
from shared.data.sources import open_log
from shared.errors import DataError
from tests.support.writing import FORMS, ITEMS, csv

# Nanoseconds that one float64 holds all of: the test of exact times. Rows are not in their order.
START = 1_700_000_000_000_000_000
TICKS = (5, 3, 4, 1, 2, 7, 6)
PEOPLE = ("1", "1", "1", "1", "1", "2", "2")
MET = ("10", "11", "12", "13", "14", "10", "11")
TEXTS = {
    "10": "Alpha, Drama",
    "11": 'The "B"',
    "12": "Café. Ω",
    "13": "Two\nlines",
    "14": "E",
}
WHOLE = [START + tick for tick in TICKS]


def seconds(ticks: int) -> str:
    return f"{ticks // 10**9}.{ticks % 10**9:09}"


def iso(ticks: int, zone: str = "Z", separator: str = "T") -> str:
    moment = np.datetime64(ticks, "ns")
    return str(moment).replace("T", separator) + zone


def written(times: list[str] | None = None, **options: str) -> str:
    """The interactions as CSV: `quote` every cell, line `end`, `order` of the columns."""
    times = times or [str(tick) for tick in WHOLE]
    rows = [
        dict(zip(("user", "item", "timestamp", "note"), row, strict=True))
        for row in zip(PEOPLE, MET, times, ["x"] * len(MET), strict=True)
    ]
    names = options.get("order", "user,item,timestamp").split(",")
    quote, end = options.get("quote", ""), options.get("end", "\n")
    lines = [names, *([row[name] for name in names] for row in rows)]
    return "".join(",".join(f"{quote}{c}{quote}" for c in line) + end for line in lines)


def items_csv(end: str = "\n") -> bytes:
    lines = (item + ',"' + text.replace('"', '""') + f'"{end}' for item, text in TEXTS.items())
    return (f"item,text{end}" + "".join(lines)).encode()


PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def in_csv(content: str | bytes, items: bytes | None = None, suffix: str = "") -> Callable:
    def write(folder: Path) -> Path:
        pack = PACK[suffix]
        data = content.encode() if isinstance(content, str) else content
        (folder / f"interactions.csv{suffix}").write_bytes(pack(data))
        (folder / f"items.csv{suffix}").write_bytes(pack(items or items_csv()))
        return folder

    return write


def in_parquet(
    times: object = None,
    ids: object = None,
    text: object = None,
    dictionary: bool = False,
    nul: bool = False,
    **options: object,
) -> Callable:
    def write(folder: Path) -> Path:
        kind = pa.string() if ids is None else ids
        people = [int(user) if pa.types.is_integer(kind) else user for user in PEOPLE]
        met = [int(item) if pa.types.is_integer(kind) else item for item in MET]
        listed = [int(item) if pa.types.is_integer(kind) else item for item in TEXTS]
        when = pa.array(WHOLE) if times is None else times
        columns = {"timestamp": when, "user": pa.array(people, kind), "item": pa.array(met, kind)}
        table = pa.table(columns)
        if dictionary:
            table = pa.table({name: column.dictionary_encode() for name, column in columns.items()})
        pq.write_table(table, folder / "interactions.parquet", **options)
        texts = [one + "\0" * bool(nul) for one in TEXTS.values()]
        described = pa.array(texts, text or pa.string())
        pq.write_table(
            pa.table({"text": described, "item": pa.array(listed, kind)}), folder / "items.parquet"
        )
        return folder

    return write


def mixed(folder: Path) -> Path:
    in_csv(written())(folder)
    (folder / "items.csv").unlink()
    in_parquet()(folder)
    (folder / "interactions.parquet").unlink()
    return folder


def in_streams(suffix: str, damage: Callable[[bytes], bytes] = bytes) -> Callable:
    """Packed in two streams one after the other, as parallel packers do; the second damaged."""

    def write(folder: Path) -> Path:
        half = written().encode().index(b"\n", 60) + 1
        first, second = written().encode()[:half], written().encode()[half:]
        packed = PACK[suffix](first) + damage(PACK[suffix](second))
        (folder / f"interactions.csv{suffix}").write_bytes(packed)
        (folder / "items.csv").write_bytes(items_csv())
        return folder

    return write


def altered(packed: bytes) -> bytes:
    half = len(packed) // 2
    return packed[:half] + bytes([packed[half] ^ 0xFF]) + packed[half + 1 :]


def in_folder(name: str) -> Callable:
    def write(folder: Path) -> Path:
        (folder / name).mkdir()
        return in_csv(written())(folder / name)

    return write


def extension(folder: Path) -> Path:
    """As pandas stores a period, read where nobody imported pandas."""
    in_parquet()(folder)
    kept = {"ARROW:extension:name": "pandas.period", "ARROW:extension:metadata": '{"freq": "s"}'}
    field = pa.field("timestamp", pa.int64(), metadata=kept)
    table = pq.read_table(folder / "interactions.parquet").set_column(0, field, [pa.array(WHOLE)])
    pq.write_table(table, folder / "interactions.parquet")
    return folder


def checked_pages(folder: Path) -> Path:
    options = {"write_page_checksum": True, "compression": "none", "use_dictionary": False}
    in_parquet(ids=pa.string(), **options)(folder)
    content = bytearray((folder / "interactions.parquet").read_bytes())
    place = content.index(b"\x02\x00\x00\x0013")  # an item of two characters
    content[place + 5] = ord("4")
    (folder / "interactions.parquet").write_bytes(content)
    return folder


def no_utf8(folder: Path) -> Path:
    in_parquet()(folder)
    raw = pa.array([*(b"%d" % tick for tick in TICKS[:6]), b"\xff"], pa.binary())
    users = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())
    table = pa.table({"user": users, "item": MET, "timestamp": WHOLE})
    pq.write_table(table, folder / "interactions.parquet")
    return folder


def dangling(folder: Path) -> Path:
    in_csv(written())(folder)
    (folder / "interactions.csv").rename(folder / "log")
    (folder / "interactions.csv").symlink_to("elsewhere.csv")
    return folder


def looping(folder: Path) -> Path:
    dangling(folder)
    (folder / "elsewhere.csv").symlink_to("interactions.csv")
    return folder


def pandas_index(folder: Path) -> Path:
    in_csv("")(folder)
    (folder / "interactions.csv").unlink()
    frame = pd.DataFrame({"user": PEOPLE, "item": MET, "timestamp": WHOLE})
    frame.set_index("timestamp").to_parquet(folder / "interactions.parquet")
    return folder


def other_names(folder: Path) -> Path:
    in_csv(written().replace("user,item,timestamp", "userId, item,ts", 1))(folder)
    return folder


def stamps(unit: str = "ns", zone: str | None = None) -> pa.Array:
    return pa.array(WHOLE, pa.int64()).cast(pa.timestamp(unit, zone))


DATES = [iso(tick) for tick in WHOLE]
OFFSETS = [
    iso(tick + hours * 3600 * 10**9, f"{hours:+03}:00")
    for tick, hours in zip(WHOLE, (0, 2, -7, 12, 1, 0, -3), strict=True)
]
LINES = written().splitlines(keepends=True)
SAME: dict[str, Callable[[Path], Path]] = {
    "plain": in_csv(written()),
    "CR LF": in_csv(written(end="\r\n"), items_csv("\r\n")),
    "CR": in_csv(written(end="\r"), items_csv("\r")),
    "no last line end": in_csv(written().rstrip("\n")),
    "blank lines": in_csv(written().replace("\n", "\n\n")),
    "a byte order mark": in_csv("\ufeff" + written(), b"\xef\xbb\xbf" + items_csv()),
    "everything quoted": in_csv(written(quote='"')),
    "columns in another order": in_csv(written(order="timestamp,user,item")),
    "columns that are not read": in_csv(written(order="note,user,item,note,timestamp")),
    "rows in another order": in_csv("".join((LINES[0], *reversed(LINES[1:])))),
    "rows twice": in_csv("".join((*LINES, *LINES[1:]))),
    "gz": in_csv(written(), suffix=".gz"),
    "bz2": in_csv(written(), suffix=".bz2"),
    "xz": in_csv(written(), suffix=".xz"),
    "gz in two streams": in_streams(".gz"),
    "bz2 in two streams": in_streams(".bz2"),
    "xz in two streams": in_streams(".xz"),
    "a folder named as a table": in_folder("folder.csv"),
    "a folder named as a Parquet file": in_folder("my.parquet"),
    "a folder named as a published file": in_folder("u.data"),
    "a column that begins as bzip2 does": in_csv(
        written(order="note,user,item,timestamp").replace("note", "BZhour", 1)
    ),
    "a column that begins as Parquet does": in_csv(
        written(order="note,user,item,timestamp").replace("note", "PAR1", 1)
    ),
    "a plus before every time": in_csv(written([f"+{tick}" for tick in WHOLE])),
    "leading zeros before every time": in_csv(written([f"00{tick}" for tick in WHOLE])),
    "blanks around every time": in_csv(written([f" {tick} " for tick in WHOLE])),
    "decimal seconds": in_csv(written([seconds(tick) for tick in WHOLE])),
    "decimals and whole numbers": in_csv(
        written([str(t) if t < 5 else f"{t}.0" for t in TICKS]),
    ),
    "decimals of many lengths": in_csv(written([f"1.{'0' * 7}{t}{'0' * t}" for t in TICKS])),
    "before 1970": in_csv(written([str(tick - 2**62) for tick in WHOLE])),
    "exponents": in_csv(written([f"{tick}e3" for tick in TICKS])),
    "dates": in_csv(written(DATES)),
    "dates in many zones": in_csv(written(OFFSETS)),
    "dates without a zone": in_csv(written([iso(tick, "", " ") for tick in WHOLE])),
    "dates with a comma": in_csv(written([iso(t).replace(".", ",") for t in WHOLE], quote='"')),
    "blanks after every user": in_csv(
        "".join((LINES[0], *(line.replace(",", " ,", 1) for line in LINES[1:])))
    ),
    "Parquet": in_parquet(),
    "Parquet, ids as numbers": in_parquet(ids=pa.int64()),
    "Parquet, ids as small numbers": in_parquet(ids=pa.uint8()),
    "Parquet, large strings": in_parquet(ids=pa.large_string(), text=pa.large_string()),
    "Parquet, dictionaries": in_parquet(dictionary=True),
    "Parquet, uint64": in_parquet(pa.array(WHOLE, pa.uint64())),
    "Parquet, nanoseconds": in_parquet(stamps()),
    "Parquet, nanoseconds in a zone": in_parquet(stamps(zone="America/New_York")),
    "Parquet, decimals": in_parquet(pa.array([Decimal(seconds(t)) for t in WHOLE])),
    "Parquet, decimals that no float holds": in_parquet(
        pa.array([Decimal(10**17 + tick) + Decimal("0.5") for tick in TICKS])
    ),
    "Parquet, dates as text": in_parquet(pa.array(DATES)),
    "Parquet, small floats": in_parquet(pa.array([float(tick) for tick in TICKS])),
    "Parquet, floats with fractions": in_parquet(pa.array([tick / 8 for tick in TICKS])),
    "Parquet, days": in_parquet(pa.array(TICKS, pa.int32()).cast(pa.date32())),
    "Parquet, instants of 96 bits": in_parquet(stamps(), use_deprecated_int96_timestamps=True),
    "Parquet, zstd": in_parquet(compression="zstd", row_group_size=2),
    "the index of pandas": pandas_index,
    "CSV and Parquet": mixed,
}


def hive(folder: Path) -> Path:
    in_csv(written())(folder)
    (folder / "interactions.csv").unlink()
    table = pa.table({"user": PEOPLE, "item": MET, "timestamp": WHOLE})
    pq.write_to_dataset(table, folder / "interactions.parquet", partition_cols=["user"])
    return folder


def range_index(folder: Path) -> Path:
    pandas_index(folder)
    frame = pd.DataFrame({"user": PEOPLE, "item": MET})
    frame.index = pd.RangeIndex(len(frame), name="timestamp")
    frame.to_parquet(folder / "interactions.parquet")
    return folder


FLOATS = np.array(WHOLE, dtype=np.float64)
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "one float among whole numbers": (
        in_csv(written([*map(str, WHOLE[:6]), str(float(WHOLE[6]))])),
        "row 8: timestamp '1.7e.18' is written as a float",
    ),
    "whole numbers as floats": (in_csv(written([f"{t:.1f}" for t in FLOATS])), "row 2: .* a float"),
    "UTF-16": (in_csv(written().encode("utf-16")), "UTF-16"),
    "latin-1": (in_csv(written(), items_csv().replace("Ω".encode(), b"\xe9")), "not UTF-8"),
    "semicolons": (in_csv(written().replace(",", ";")), "looks separated by ';', expected commas"),
    "tabs": (in_csv(written().replace(",", "\t")), "looks separated by tabs, expected commas"),
    "pipes": (in_csv(written().replace(",", "|")), "looks separated by '[|]', expected commas"),
    "blanks": (in_csv(written().replace(",", " ")), "looks separated by blanks, expected commas"),
    "other names": (other_names, "no column 'user' .*'userId' is near.*--columns user=userId"),
    "no names": (in_csv("".join(LINES[1:])), "the first line must name the columns"),
    "a comment above the names": (
        in_csv("# my log, of 2024\n" + written()),
        "row 1: row 2 names the columns; remove what stands above it",
    ),
    "a title above the names": (
        in_csv("A log of mine\n\n" + written()),
        "row 1: row 3 names the columns; remove what stands above it",
    ),
    "a comment above other names": (
        in_csv("# my log of ratings\n" + written().replace("user", "userId", 1)),
        "row 1: 1 field, and 3 in the next; the first line must name the columns",
    ),
    "a line for a spreadsheet": (
        in_csv("sep=;\n" + written().replace(",", ";")),
        "looks separated by ';', expected commas",
    ),
    "a line for a spreadsheet, commas": (in_csv("sep=,\n" + written()), "row 2 names the columns"),
    "a number among the names": (
        in_csv(
            written(order="note,user,item,timestamp")
            .replace("note", "0", 1)
            .replace("timestamp", "ts", 1)
        ),
        "no column 'timestamp' .*'ts' is near: rename it 'timestamp', or say --columns ti.*=ts$",
    ),
    "blanks at the end": (in_csv(written() + "  "), "row 9: holds nothing but '  '; remove the"),
    "an old end of file": (in_csv(written() + "\x1a"), r"row 9: holds nothing but '\\x1a'"),
    "a form feed": (in_csv(written() + "\f\n"), r"row 9: holds nothing but '\\x0c'"),
    "a line cut short": (
        in_csv(written() + "1,10"),
        "row 9: 2 fields, the header names 3; write ev",
    ),
    "gz, altered": (in_streams(".gz", altered), "not a whole .gz file"),
    "bz2, altered": (in_streams(".bz2", altered), "not a whole .bz2 file"),
    "xz, altered": (in_streams(".xz", altered), "not a whole .xz file"),
    "bz2, cut": (in_streams(".bz2", lambda packed: packed[:-9]), "not a whole .bz2 file"),
    "bz2 and something else": (in_streams(".bz2", gzip.compress), "not a whole .bz2 file"),
    "xz and something else": (in_streams(".xz", gzip.compress), "not a whole .xz file"),
    "gz and something else": (in_streams(".gz", bz2.compress), "not a whole .gz file"),
    "bz2 and zeros": (in_streams(".bz2", lambda packed: bytes(len(packed))), "not a whole .bz2"),
    "gz and zeros": (in_streams(".gz", lambda packed: bytes(len(packed))), "not a whole .gz"),
    "a link that leads nowhere": (
        dangling,
        "interactions.csv: is a link to elsewhere.csv that leads to no file",
    ),
    "a link that leads to itself": (looping, "interactions.csv: is a link to elsewhere.csv that"),
    "Parquet, an extension": (extension, "timestamp holds values of type pandas.period, expected"),
    "Parquet, a page altered": (checked_pages, "interactions.parquet: damaged, or not a Parquet"),
    "Parquet, text that is no UTF-8": (no_utf8, r"row 7: user is not UTF-8 \(byte 0xff\)"),
    "Parquet, byte 0": (in_parquet(text=pa.string(), nul=True), "text holds byte 0x00"),
    "Parquet, a time that was missing": (
        in_parquet(pa.array([*WHOLE[:6], -(2**63)])),
        "row 7: timestamp '-9223372036854775808' stands for a missing time",
    ),
    "Parquet, a time that was missing, in seconds": (
        in_parquet(pa.array([*TICKS[:6], -(2**63) // 10**9])),
        "row 7: timestamp '-9223372037' stands for a missing time",
    ),
    "Parquet, large floats": (in_parquet(pa.array(FLOATS)), "row 1: .*written as a float"),
    "Parquet, float32": (
        in_parquet(pa.array(TICKS, pa.float32())),
        "timestamp holds values of type float, expected numbers, dates or text",
    ),
    "Parquet, infinite": (in_parquet(pa.array([*FLOATS[:6], np.inf])), "written as a float|'inf'"),
    "Parquet, uint64 too large": (
        in_parquet(pa.array([2**63 + tick for tick in TICKS], pa.uint64())),
        "row 1: timestamp '9223372036854775813' does not fit 64 bits",
    ),
    "Parquet, durations": (in_parquet(pa.array(WHOLE, pa.duration("ns"))), "of type duration"),
    "Parquet, times of day": (in_parquet(pa.array(TICKS, pa.time64("ns"))), "of type time64"),
    "Parquet, booleans": (in_parquet(pa.array([True] * 7)), "timestamp holds values of type bool"),
    "Parquet, a time missing": (in_parquet(pa.array([*WHOLE[:6], None])), "row 7: .*is empty"),
    "Parquet, an instant missing": (
        in_parquet(pa.array([*WHOLE[:6], None], pa.timestamp("ns"))),
        "row 7: timestamp is empty",
    ),
    "Parquet, ids as bytes": (in_parquet(ids=pa.binary()), "item holds values of type binary"),
    "Parquet, partitions": (hive, "interactions.parquet: is a folder, expected a file"),
    "an index that is not stored": (range_index, "'timestamp' is the index .* reset_index"),
}


def same(log: InteractionLog) -> bool:
    """Whether it is the log above, told without the readers."""
    order = [sorted(t for t, p in zip(TICKS, PEOPLE, strict=True) if p == user) for user in "12"]
    met: dict[int, str] = dict(zip(TICKS, MET, strict=True))
    expected = {user: [met[t] for t in ticks] for user, ticks in zip("12", order, strict=True)}
    items = log.catalogue.item_ids
    return expected == {
        log.user_id(user): [items[item] for item in log.history(user)] for user in range(len(log))
    }


@pytest.mark.parametrize("way", SAME)
def test_one_log(tmp_path: Path, way: str) -> None:
    (tmp_path / "plain").mkdir()
    expected = open_log(str(in_csv(written())(tmp_path / "plain")))
    assert same(expected)
    (tmp_path / "way").mkdir()
    log = open_log(str(SAME[way](tmp_path / "way")))
    assert log.digest == expected.digest
    assert all((np.diff(log.timestamps(user)) > 0).all() for user in range(2))
    assert log.ties.interactions == 0


@pytest.mark.parametrize("way", REFUSED)
def test_no_log(tmp_path: Path, way: str) -> None:
    write, rule = REFUSED[way]
    with pytest.raises(DataError, match=rule) as raised:
        open_log(str(write(tmp_path)))
    assert "\n" not in str(raised.value)
    assert str(raised.value).count(str(tmp_path)) == 1


TYPES = {
    "bool": pa.array([True, False]),
    "double": pa.array([1.0, 2.0]),
    "halffloat": pa.array(np.array([1, 2], dtype=np.float16)),
    "decimal": pa.array([Decimal("1"), Decimal("2")]),
    "date": pa.array([1, 2], pa.int32()).cast(pa.date32()),
    "instant": pa.array([1, 2], pa.timestamp("s")),
    "duration": pa.array([1, 2], pa.duration("s")),
    "binary": pa.array([b"1", b"2"]),
    "fixed binary": pa.array([b"1", b"2"], pa.binary(1)),
    "list": pa.array([["1"], ["2"]]),
    "struct": pa.array([{"id": "1"}, {"id": "2"}]),
    "map": pa.array([[("a", "1")], [("a", "2")]], pa.map_(pa.string(), pa.string())),
    "null": pa.nulls(2),
}


@pytest.mark.parametrize("role", ["user", "item", "timestamp", "text"])
def test_types_of_parquet(tmp_path: Path, role: str) -> None:
    texts = {"text": pa.array([1, 2])} if role == "text" else {}
    for name, array in (TYPES | texts).items():
        if role == "timestamp" and name in ("double", "decimal", "date", "instant"):
            continue
        (folder := tmp_path / name).mkdir()
        columns = {
            "user": pa.array(["1", "2"]),
            "item": pa.array(["1", "2"]),
            "timestamp": pa.array([1, 2]),
        }
        listed = {"item": columns["item"], "text": pa.array(["One", "Two"])}
        for table in (columns, listed):
            if role in table:
                table[role] = array
        pq.write_table(pa.table(columns), folder / "interactions.parquet")
        pq.write_table(pa.table(listed), folder / "items.parquet")
        with pytest.raises(DataError, match=rf"row 1: {role} holds values of type .+, expected"):
            open_log(str(folder))


@settings(max_examples=60, deadline=None)
@given(
    ticks=st.lists(st.integers(-(10**18), 10**18), min_size=3, max_size=8, unique=True),
    scale=st.integers(0, 9),
    seed=st.integers(0, 99),
)
def test_any_exact_times(
    ticks: list[int], scale: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Decimals, whole numbers, Parquet integers and dates of the same instants, in any order."""
    random.Random(seed).shuffle(ticks)
    items = [(str(item), f"Item {item}") for item in range(len(ticks))]
    order = [int(place) for place in np.argsort(ticks)]
    decimals = [format(Decimal(tick).scaleb(-scale), "f") for tick in ticks]
    ways = {
        "whole": [str(tick) for tick in ticks],
        "decimals": decimals,
        "stripped": [d.rstrip("0").rstrip(".") if "." in d else d for d in decimals],
        "dates": [iso(tick) for tick in ticks],
    }
    for times in ways.values():
        folder = tmp_path_factory.mktemp("log")
        rows = [("u", str(item), time) for item, time in enumerate(times)]
        spec = str(csv(folder, rows, items))
        if any("." in time and abs(Decimal(time)) >= 2**53 for time in times if "T" not in time):
            with pytest.raises(DataError, match="written as a float"):
                open_log(spec)
        else:
            assert open_log(spec).history(0).tolist() == order


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_one_log_has_its_digest(tmp_path: Path, form: str) -> None:
    rows = [("2", "12", "50"), ("1", "10", "100"), ("1", "11", "101"), ("2", "10", "60")]
    digests = []
    for name in ("csv", form):
        (tmp_path / name).mkdir(exist_ok=True)
        digests.append(open_log(str(FORMS[name](tmp_path / name, rows, ITEMS))).digest)
    assert digests[0] == digests[1]
