"""One log written in every form that a reader takes, with any cell replaced.

A log is rows of (user, item, time, ...) in the order of the file and a list of (item, text).
"""

from collections.abc import Callable, Sequence
from pathlib import Path

Rows = Sequence[tuple[str, str, str]]
Items = Sequence[tuple[str, str]]
Write = Callable[[Path, Rows, Items], Path]

ROWS = (
    ("1", "10", "100"),
    ("1", "11", "101"),
    ("2", "12", "50"),
    ("1", "12", "102"),
    ("2", "10", "60"),
)
ITEMS = (("10", "Alpha. Drama"), ("11", "Beta. Drama"), ("12", "Café. Drama"))


def csv(folder: Path, rows: Rows, items: Items) -> Path:
    """The documented form."""
    lines = ["user,item,timestamp", *(",".join(row) for row in rows)]
    (folder / "interactions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = ["item,text", *(",".join(item) for item in items)]
    (folder / "items.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def parquet(folder: Path, rows: Rows, items: Items) -> Path:
    """The documented form, in Parquet, as text."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=["user", "item", "timestamp"])
    frame.to_parquet(folder / "interactions.parquet")
    pd.DataFrame(items, columns=["item", "text"]).to_parquet(folder / "items.parquet")
    return folder


def movielens_100k(folder: Path, rows: Rows, items: Items) -> Path:
    """`u.data`, `u.item` and `u.genre`, in latin-1 where that is enough."""
    ratings = "".join(f"{user}\t{item}\t3\t{time}\n" for user, item, time in rows)
    (folder / "u.data").write_text(ratings, encoding="utf-8")
    (folder / "u.genre").write_text("Comedy|0\nDrama|1\n\n")
    films = "".join(f"{item}|{_title(text)}||||0|1\n" for item, text in items)
    narrow = all(ord(character) < 256 for character in films)
    (folder / "u.item").write_bytes(films.encode("latin-1" if narrow else "utf-8"))
    return folder


def movielens_latest(folder: Path, rows: Rows, items: Items) -> Path:
    """`ratings.csv` and `movies.csv`."""
    ratings = "".join(f"{user},{item},3,{time}\n" for user, item, time in rows)
    (folder / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n" + ratings, encoding="utf-8"
    )
    films = "".join(f"{item},{_title(text)},Drama\n" for item, text in items)
    (folder / "movies.csv").write_text("movieId,title,genres\n" + films, encoding="utf-8")
    return folder


def sequences(folder: Path, rows: Rows, items: Items) -> Path:
    """`test.txt` and `item_list.txt`; users in order of first appearance, times as order."""
    met: dict[str, list[str]] = {}
    for user, item, _ in sorted(rows, key=lambda row: float(row[2])):
        met.setdefault(user, []).append(item)
    lines = "".join(f"{user} {' '.join(met[user])}\n" for user in dict.fromkeys(r[0] for r in rows))
    (folder / "test.txt").write_text(lines, encoding="utf-8")
    listed = "".join(f'X {item} "{_title(text)}" Drama\n' for item, text in items)
    header = "org_id remap_id title category\n"
    (folder / "item_list.txt").write_text(header + listed, encoding="utf-8")
    return folder


def two_shops(folder: Path, rows: Rows, items: Items) -> Path:
    """Every user's last two items in two rows; the first shop lists one item."""
    met: dict[str, list[str]] = {}
    for user, item, _ in sorted(rows, key=lambda row: float(row[2])):
        met.setdefault(user, []).append(item)
    pairs = []
    for user, history in met.items():
        for last in history[-2:]:
            cells = [f"{item}|{place}|{place}" for place, item in enumerate([*history[:-2], last])]
            pairs.append("\t".join((user, str(len(cells) - 1), *cells, "")))
    (folder / "train_F2.txt").write_text("\n".join(pairs) + "\n", encoding="utf-8")
    for name in ("test_F2.txt", "valid_F2.txt"):
        (folder / name).write_text("")
    header = "idBefore,item_title,idAfter,item_attribute\n"
    for name, part in (("item_listA_F.csv", items[:1]), ("item_listO_AA_F.csv", items[1:])):
        lines = "".join(f"0,{_title(text)},{item},Drama\n" for item, text in part)
        (folder / name).write_text(header + lines, encoding="utf-8")
    return folder


def _title(text: str) -> str:
    return text.removesuffix(". Drama")


FORMS: dict[str, Write] = {
    "csv": csv,
    "parquet": parquet,
    "movielens-100k": movielens_100k,
    "movielens-latest": movielens_latest,
    "sequences": sequences,
    "two shops": two_shops,
}
TIMED = ("csv", "parquet", "movielens-100k", "movielens-latest")  # the others know order only
