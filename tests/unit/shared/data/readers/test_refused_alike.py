"""The same bad value is refused in the same words, whichever reader meets it."""

import re
from pathlib import Path

import pytest

from shared.data.sources import open_log
from shared.errors import DataError
from tests.support.writing import FORMS, ITEMS, ROWS, TIMED

FIRST = {"csv": 2, "parquet": 1, "movielens-100k": 1, "movielens-latest": 2}  # row of a file

NEITHER = "{!r} is neither a finite number nor an ISO 8601 date"
WORDS = (
    *("now", "today", "NaT", "nan", "inf", "-Infinity", "True", "12:30", "1 days 00:00:01", "PT5S"),
    *("1_000", "0x10", "2024-02-30", "2024-03", "2024-W09-1", "2024-03-01T25:00", "1e", "."),
    *("2024-03-01T10:00:60", "2024-03-01T10:00+24", "01.03.2024", "3/1/2024"),
)
TIMES = {word: NEITHER.format(word) for word in WORDS} | {
    "": "is empty",
    " ": "is empty",
    "2024-03-01": "'2024-03-01' is a date without a zone where '100' is a number",
    "9223372036854775808": "'9223372036854775808' does not fit 64 bits",
    "18446744073709551615": "does not fit 64 bits",
    "1e999": "'1e999' is written as a float, which holds whole numbers exactly only below 2^53",
    "1.600000000123457e+18": "is written as a float",
    "9007199254740993.0": "is written as a float",
    "0.00000000000000000001": "does not fit 64 bits with the 20 digits after the point",
    "1" * 61: "has 61 characters",
}


def refusal(folder: Path) -> str:
    with pytest.raises(DataError) as raised:
        open_log(str(folder))
    assert raised.value.exit_code == 2
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("form", TIMED)
def test_bad_times(tmp_path: Path, form: str) -> None:
    for number, (time, rule) in enumerate(TIMES.items()):
        (folder := tmp_path / str(number)).mkdir()
        FORMS[form](folder, [*ROWS[:3], ("1", "12", time), *ROWS[4:]], ITEMS)
        found = refusal(folder)
        # The first row needs more digits where a later one has twenty.
        row = FIRST[form] + (0 if "digits" in rule else 3)
        assert f"row {row}: timestamp " in found
        assert rule in found, time


@pytest.mark.parametrize("form", TIMED)
def test_dates_with_and_without_a_zone_are_not_mixed(tmp_path: Path, form: str) -> None:
    dates = [f"2024-03-0{day}T10:00:00{'Z' if day < 4 else ''}" for day in range(1, 6)]
    rows = [(user, item, date) for (user, item, _), date in zip(ROWS, dates, strict=True)]
    found = refusal(FORMS[form](tmp_path, rows, ITEMS))
    assert f"row {FIRST[form] + 3}: timestamp '2024-03-04T10:00:00' is a date without" in found


# beside a user 1
USERS = {
    "nan": "'nan' stands for a missing value",
    "None": "'None' stands for a missing value",
    "<NA>": "'<NA>' stands for a missing value",
    "null": "'null' stands for a missing value",
    "NA": "'NA' stands for a missing value",
    "1\u200b": "cannot be told apart",
    "\ufeff1": "cannot be told apart",
    "\u20601": "cannot be told apart",
    "\uff11": "cannot be told apart",
    "1.0": "cannot be told apart",
    "1.00": "cannot be told apart",
}


@pytest.mark.parametrize("form", FORMS)
def test_bad_users(tmp_path: Path, form: str) -> None:
    for number, (user, rule) in enumerate(USERS.items()):
        (folder := tmp_path / str(number)).mkdir()
        FORMS[form](folder, [*ROWS, (user, "10", "70"), (user, "12", "102")], ITEMS)
        assert rule in (found := refusal(folder)), user
        assert ascii(user) in found  # with what cannot be seen written out


@pytest.mark.parametrize("form", ["csv", "parquet", "movielens-100k", "movielens-latest"])
def test_blanks_do_not_make_two_people(tmp_path: Path, form: str) -> None:
    for number, blank in enumerate((" ", "\t", "\u00a0", "\u2003", "\u3000", "\u3164")):
        if form == "movielens-100k" and blank == "\t":
            continue  # there it separates fields
        (folder := tmp_path / str(number)).mkdir()
        FORMS[form](folder, [*ROWS[:3], (f"1{blank}", "12", "102"), *ROWS[4:]], ITEMS)
        assert "cannot be told apart" in refusal(folder)
        (folder := tmp_path / f"{number} alone").mkdir()
        FORMS[form](folder, [*ROWS[:3], (blank, "12", "102"), *ROWS[4:]], ITEMS)
        assert f"row {FIRST[form] + 3}: user" in (found := refusal(folder))
        assert "is empty" in found


@pytest.mark.parametrize("form", FORMS)
def test_bad_items(tmp_path: Path, form: str) -> None:
    listed = {
        "twice": ([*ITEMS, ITEMS[1]], "item '11' is listed twice; keep one"),
        "in two spellings": ([*ITEMS, ("11\u200b", "Again")], "cannot be told apart"),
        "as a float": ([*ITEMS, ("11.0", "Again")], "cannot be told apart"),
        "nan": ([*ITEMS, ("nan", "Again")], "'nan' stands for a missing value"),
        "one": (ITEMS[:1], "at least 2" if form != "two shops" else "no rows under the header"),
        "a text of nan": ([*ITEMS[:2], ("12", "nan. Drama")], "'nan' stands for a missing"),
        "a text read as latin-1": (
            [*ITEMS[:2], ("12", "CafÃ©. Drama")],
            "is UTF-8 that was read as latin-1",
        ),
    }
    for name, (items, rule) in listed.items():
        if name == "a text read as latin-1" and form == "movielens-100k":
            continue  # written in latin-1, it is the UTF-8 that was meant
        if name == "a text of nan" and form == "two shops":
            continue  # there a title is optional
        (folder := tmp_path / name).mkdir()
        FORMS[form](folder, ROWS, items)
        if form in ("csv", "parquet") and "nan. " in str(items):
            FORMS[form](folder, ROWS, [*ITEMS[:2], ("12", "nan")])
        assert rule in refusal(folder), name


@pytest.mark.parametrize("form", FORMS)
def test_items_that_are_not_listed_and_look_like_one(tmp_path: Path, form: str) -> None:
    for item, hint in (("13", ""), ("012", "it lists '12': write")):
        (folder := tmp_path / item).mkdir()
        rows = [(user, item if met == "12" else met, time) for user, met, time in ROWS]
        found = refusal(FORMS[form](folder, rows, ITEMS))
        assert re.search(rf"row \d: item '{item}' is not in ", found)
        assert hint in found
        assert ("it lists" in found) == bool(hint)


@pytest.mark.parametrize("form", FORMS)
def test_whole_columns_of_floats(tmp_path: Path, form: str) -> None:
    rows = [(f"{user}.0", item, time) for user, item, time in ROWS]
    found = refusal(FORMS[form](tmp_path, rows, ITEMS))
    assert re.search(r"'(\d)\.0' is a whole number written as a float, .*; write '\1'$", found)
    (other := tmp_path / "some").mkdir()
    rows = [(f"{user}.0" if user == "2" else user, item, time) for user, item, time in ROWS]
    assert "'2.0' is a whole number written as a float" in refusal(FORMS[form](other, rows, ITEMS))


@pytest.mark.parametrize("form", [form for form in FORMS if form != "parquet"])
def test_bytes_that_are_no_text(tmp_path: Path, form: str) -> None:
    FORMS[form](tmp_path, ROWS, ITEMS)
    for path in sorted(tmp_path.iterdir()):
        content = path.read_bytes()
        if not content:
            continue
        for broken, rule in (
            (content + b"\0", "not text (byte 0x00)"),
            (b"\xef\xbb\xbf" * 2 + content, "begins with two byte order marks"),
            (content.decode().encode("utf-16") if content.isascii() else b"\xff\xfe", "UTF-16"),
            (b"PAR1" + content, "is a Parquet file"),
            (b"\x1f\x8b" + content, "is packed by gzip"),
            (b"PK\x03\x04" + content, "is a zip archive or a workbook"),
        ):
            path.write_bytes(broken)
            assert rule in (found := refusal(tmp_path))
            assert str(path) in found
        path.write_bytes(content)


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("text", ["\u200b", "\u3164 ", "\ufeff"])
def test_a_text_that_cannot_be_seen_is_none(tmp_path: Path, form: str, text: str) -> None:
    FORMS[form](tmp_path, ROWS, [*ITEMS[:2], ("12", text)])
    assert "text is empty" in refusal(tmp_path)
