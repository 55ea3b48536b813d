"""The same bad value is refused in the same words, whichever reader meets it."""

import re
from collections.abc import Callable
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
    "-9223372036854775808": "'-9223372036854775808' stands for a missing time",
    "-9223372036.854775808": "'-9223372036.854775808' stands for a missing time",
    "-9223372037": "'-9223372037' stands for a missing time",
    "-9223372036855": "'-9223372036855' stands for a missing time",
    "-9223372036854775": "'-9223372036854775' stands for a missing time",
    "1.600000000123457e+18": "is written as a float",
    "9007199254740993.0": "is written as a float",
    "0.00000000000000000001": "has 20 digits after the point, with which '100' does not fit 64",
    "1e-400": "'1e-400' has 400 digits after the point, with which '100' does not fit 64 bits",
    "1" * 61: "has 61 characters, at most 60 are read",
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
        assert f"row {FIRST[form] + 3}: timestamp " in found
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
    "1.": "cannot be told apart",
    "+1": "cannot be told apart",
    "1.0e+00": "cannot be told apart",
    "1.23457E+18": "is a number written as a float",
    "1e+18": "is a number written as a float",
    "1.5e18": "is a number written as a float",
    "1e18": "is a number written as a float",
    "-7.0": "is a whole number written as a float",
    **dict.fromkeys(
        (
            *("none", "Null", "Nan", "-nan", "n/a", "#N/A", "\\N", "undefined", "Infinity", "-inf"),
            *("(null)", "1.#QNAN", "#REF!", "NaT", "-9223372036854775808"),
            *(" nan", "nan\u200b", "n\u200ban", "\uff4e\uff41\uff4e"),
        ),
        "stands for a missing value",
    ),
    **{
        f"1{unseen}": "cannot be told apart"
        for unseen in (
            *("\u180b", "\u180f", "\ufe0f", "\U0001d159", "\U000e0100", "\U000e01ef", "\U000e0fff"),
            *("\u2800", "\u17b5", "\ufff0", "\U0001bca0", "\U0001d173", "\U00013441", "\u206a"),
        )
    },
    "Zo\u00c3\u00ab": "is UTF-8 that was read as latin-1 (meant: 'Zo\u00eb')",
    "Zo\ufffd": "in whose place a letter was lost",
    "Zo\u0092": "is windows-1252 that was read as latin-1",
}
NUMBERED = ("movielens-100k", "movielens-latest")  # there every user is a number


@pytest.mark.parametrize("form", FORMS)
def test_bad_users(tmp_path: Path, form: str) -> None:
    for number, (user, rule) in enumerate(USERS.items()):
        if form == "sequences" and " " in user:
            continue  # there it separates fields
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
        "a text of none": ([*ITEMS[:2], ("12", "None. Drama")], "'None' stands for a missing"),
        "a text of nan, unseen": ([*ITEMS[:2], ("12", "NaN\u200b. Drama")], "stands for a missing"),
        "a text of #NA": ([*ITEMS[:2], ("12", "#NA. Drama")], "'#NA' stands for a missing"),
        "a text in part": (
            [*ITEMS[:2], ("12", "MisÃ©rables \u65e5\u672c, Café. Drama")],
            "is UTF-8 that was read as latin-1 (meant: 'Misérables \u65e5\u672c, Café",
        ),
        "a text in quotes": (
            [*ITEMS[:2], ("12", "â€œHiâ€\x9d. Drama")],
            "is UTF-8 that was read as latin-1 (meant: '“Hi”",
        ),
        "a text with a letter lost": ([*ITEMS[:2], ("12", "Caf\ufffd. Drama")], "holds U+FFFD"),
        "a text in windows-1252": (
            [*ITEMS[:2], ("12", "It\x92s. Drama")],
            "is windows-1252 that was read as latin-1",
        ),
        "a text read as latin-1": (
            [*ITEMS[:2], ("12", "CafÃ©. Drama")],
            "is UTF-8 that was read as latin-1",
        ),
    }
    for name, (items, rule) in listed.items():
        if name == "a text read as latin-1" and form == "movielens-100k":
            continue  # written in latin-1, it is the UTF-8 that was meant
        if "stands for a missing" in rule and "text" in name and form == "two shops":
            continue  # there a title is optional
        if name == "a text in windows-1252" and form == "movielens-100k":
            rule = "u.item, row 3: neither UTF-8 (byte 0x92) nor latin-1 (row 3, byte 0x92)"
        if "," in str(items) and form in ("csv", "movielens-latest", "two shops"):
            items = [(item, f'"{text.removesuffix(". Drama")}"') for item, text in items]
        (folder := tmp_path / name).mkdir()
        FORMS[form](folder, ROWS, items)
        if form in ("csv", "parquet") and "stands for a missing" in rule and "text" in name:
            text = items[2][1].removesuffix(". Drama")
            FORMS[form](folder, ROWS, [*ITEMS[:2], ("12", text)])
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
    (one := tmp_path / "one").mkdir()  # what a spreadsheet makes of several numbers
    rows = [("1.23457E+18", item, str(place)) for place, (_, item, _) in enumerate(ROWS)]
    assert "'1.23457E+18' is a number written as a float" in refusal(FORMS[form](one, rows, ITEMS))


@pytest.mark.parametrize("form", [form for form in FORMS if form not in NUMBERED])
def test_one_name_among_floats_hides_none(tmp_path: Path, form: str) -> None:
    for name, (spelt, rule) in {
        "floats": ({"1": "1.0", "2": "guest"}, "'1.0' is a whole number written as a float"),
        "negative": ({"1": "-1.0", "2": "guest"}, "'-1.0' is a whole number written as a float"),
        "exponents": ({"1": "1e+18", "2": "guest"}, "'1e+18' is a number written as a float"),
        "codes": ({"1": "1e3", "2": "3ff"}, ""),
        "codes of digits": ({"1": "12E05", "2": "12405"}, ""),
        "versions": ({"1": "1.0", "2": "1.5"}, ""),
        "whole": ({"1": "-1", "2": "guest"}, ""),
    }.items():
        (folder := tmp_path / name).mkdir()
        FORMS[form](folder, [(spelt[user], item, time) for user, item, time in ROWS], ITEMS)
        if rule:
            assert rule in refusal(folder), name
        else:
            log = open_log(str(folder))
            assert {log.user_id(user) for user in range(2)} == set(spelt.values())


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
            (b"PAR1\x15" + content, "is a Parquet file"),
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


PUBLISHED: dict[str, tuple[str, str, Callable[[str], str], str]] = {
    "a genre without a number": (
        *("movielens-100k", "u.genre", lambda text: text.replace("|1", "|x")),
        "u.genre, row 2: number 'x' is not one of 0 to 1, each once",
    ),
    "a number of two genres": (
        *("movielens-100k", "u.genre", lambda text: text.replace("|1", "|0")),
        "u.genre, row 2: number '0' is not one of",
    ),
    "a flag in words": (
        *("movielens-100k", "u.item", lambda text: text.replace("|0|1", "|FALSE|TRUE", 1)),
        "u.item, row 1: 'Comedy' is 'FALSE', expected 0 or 1",
    ),
    "a flag and a blank": (
        *("movielens-100k", "u.item", lambda text: text.replace("|0|1", "|0|1 ", 1)),
        "u.item, row 1: 'Drama' is '1 ', expected 0 or 1",
    ),
    "ratings with blanks": (
        *("movielens-100k", "u.data", lambda text: text.replace("\t", " ")),
        "u.data, row 1: 1 field, expected 4 (it looks separated by blanks)",
    ),
    "sequences with tabs": (
        *("sequences", "test.txt", lambda text: text.replace(" ", "\t")),
        "test.txt, row 1: looks separated by tabs, expected blanks",
    ),
    "sequences with commas": (
        *("sequences", "test.txt", lambda text: text.replace(" ", ",")),
        "test.txt, row 1: looks separated by commas, expected blanks",
    ),
    "sequences with commas and blanks": (
        *("sequences", "test.txt", lambda text: text.replace(" ", ", ")),
        "test.txt, row 1: looks separated by commas, expected blanks",
    ),
    "users with colons": (
        *("sequences", "test.txt", lambda text: text.replace(" ", ": ", 1)),
        "test.txt, row 1: looks separated by ':', expected blanks",
    ),
    "one line with semicolons": (
        *("sequences", "test.txt", lambda text: text + "3;10;12\n"),
        "test.txt, row 3: looks separated by ';', expected blanks",
    ),
    "users and tabs": (
        *("sequences", "test.txt", lambda text: re.sub("^(.) ", r"\1\t", text, flags=re.M)),
        "test.txt, row 1: looks separated by tabs, expected blanks",
    ),
    "a category read as latin-1": (
        *("sequences", "item_list.txt", lambda text: text.replace("Drama", "ComÃ©die", 1)),
        "item_list.txt, row 2: category 'ComÃ©die' is UTF-8 that was read as latin-1",
    ),
    "a person in two files": (
        *("two shops", "valid_F2.txt", lambda _: "1 \t1\t10|0|0\t12|1|1\n1 \t1\t10|0|0\t11|1|1\n"),
        "valid_F2.txt, row 1: user '1 ' and '1' (row 3 of train_F2.txt) cannot be told apart",
    ),
    "an item in two files": (
        *("two shops", "valid_F2.txt", lambda _: "9\t1\t10 |0\t12|1|1\n9\t1\t10 |0\t11|1|1\n"),
        "valid_F2.txt, row 1: item '10 ' and '10' (row 2 of train_F2.txt) cannot be told apart",
    ),
    "a number of items without end": (
        *("two shops", "valid_F2.txt", lambda _: f"9\t{'1' * 5000}\t10|0|0\n"),
        "valid_F2.txt, row 1: expected a user, a number n and n + 1 items",
    ),
}


@pytest.mark.parametrize("case", PUBLISHED)
def test_published_files(tmp_path: Path, case: str) -> None:
    form, name, edit, rule = PUBLISHED[case]
    path = FORMS[form](tmp_path, ROWS, ITEMS) / name
    path.write_text(edit(path.read_text("latin-1")), encoding="utf-8")
    assert rule in refusal(tmp_path)


def test_genres_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    log = open_log(str(FORMS["movielens-100k"](tmp_path, ROWS, ITEMS)))
    (tmp_path / "u.genre").write_text("Drama|1\nComedy|0\n")
    assert open_log(str(tmp_path)).catalogue.texts == log.catalogue.texts


def test_a_category_of_nan_is_none(tmp_path: Path) -> None:
    path = FORMS["sequences"](tmp_path, ROWS, ITEMS) / "item_list.txt"
    path.write_text(path.read_text(encoding="utf-8").replace("Drama", "NaN"), encoding="utf-8")
    assert open_log(str(tmp_path)).catalogue.texts == ("Alpha", "Beta", "Café")


@pytest.mark.parametrize("form", NUMBERED)
def test_a_number_of_any_length_is_a_user(tmp_path: Path, form: str) -> None:
    rows = [("9" + "0" * 4999 if user == "1" else user, item, time) for user, item, time in ROWS]
    log = open_log(str(FORMS[form](tmp_path, rows, ITEMS)))
    assert [len(log.user_id(user)) for user in range(2)] == [1, 5000]


TRUE_TEXTS = (
    *("Café…", "CAFÉ…", "NESCAFÉ®", "Spaß“", "Nestlé™", "Qualité\u00a0: Ä", "«ÉTÉ» et «ÂGE»"),
    *("日本 Café", "Ελλάδα", "Привет", "À", "Nº 5", "Ø½ d\u00d7²", "Nancy", "Null Island", "¡Olé!"),
)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_texts_that_are_what_they_seem(tmp_path: Path, form: str) -> None:
    items = [*ITEMS, *((f"t{place}", text) for place, text in enumerate(TRUE_TEXTS))]
    log = open_log(str(FORMS[form](tmp_path, ROWS, items)))
    assert log.catalogue.texts[3:] == TRUE_TEXTS
