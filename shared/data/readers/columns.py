"""The documented columns of an interaction log and its items.

`interactions.csv|parquet` holds `user,item,timestamp[,...]` and `items.csv|parquet` beside it
`item,text[,...]`, or columns of other names that are mapped to these. Further columns are allowed
and not read here. A mistake is refused, never repaired: the message names file, row and rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from shared.data.log import InteractionLog
from shared.data.readers import schema
from shared.data.readers.tables import SUFFIXES, read_table, suffix_of, unknown_kind
from shared.errors import ConfigError, DataError

ROLES = ("user", "item", "timestamp", "text")
_SHOWN = (".csv", ".parquet")  # of SUFFIXES, in messages
# Forms that are not read, yet would be a second source beside one that is.
_OTHER = (
    *(".tsv", ".txt", ".json", ".jsonl", ".feather", ".xlsx", ".CSV", ".inter"),
    *(".csv.zst", ".csv.zip", ".csv.lz4", ".zip", ".gz", ".json.gz", ".tsv.gz"),
)


def parse_columns(text: str) -> dict[str, str]:
    """By role, the column that `user=userId,item=movieId` means.

    Raises
    ------
    ConfigError
        For another form, an unknown role, or one of two columns.

    Examples
    --------
    >>> parse_columns("user=userId,item=movieId")
    {'user': 'userId', 'item': 'movieId'}
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        role, sign, name = part.partition("=")
        role = role.strip()
        if not sign or role not in ROLES or not name or role in found:
            raise ConfigError(
                f"data.columns = {text!r}: {part!r} is not ROLE=COLUMN with each of "
                f"{', '.join(ROLES)} at most once; e.g. user=userId,item=movieId"
            )
        found[role] = name
    if len(set(found.values())) < len(found):
        raise ConfigError(f"data.columns = {text!r}: one column has two roles; name one for each")
    return found


def read_log(path: Path, columns: Mapping[str, str] | None = None) -> InteractionLog:
    """The log at a path.

    Parameters
    ----------
    path : Path
        A folder holding `interactions.csv` or `.parquet` and `items.csv` or `.parquet`, or an
        interactions file of any name with the items file beside it.
    columns : mapping of str to str, optional
        By role, what the files call a column that has another name than its role.

    Raises
    ------
    DataError
        For anything the rules of `docs/data.md` refuse, naming file, row and rule.
    """
    columns = columns or {}
    folder = path.is_dir() and suffix_of(path) is None
    interactions = find(path, "interactions") if folder else path
    if not interactions.exists():
        raise DataError(f"{path}: no such file or folder; see 'starling data ls' for known names")
    if suffix_of(interactions) is None:
        raise DataError(f"{path}: {unknown_kind(interactions)}")
    listed = find(interactions.parent, "items")
    wanted = {role: columns.get(role, role) for role in ROLES}
    either = ("item",)  # one of the files may have the documented name although the other has not
    text = wanted.pop("text")
    table = read_table(interactions, wanted, either)
    described = read_table(listed, {"item": wanted["item"], "text": text}, either)
    if wanted["item"] not in (table.name("item"), described.name("item")):
        raise DataError(
            f"{path}: neither {interactions.name} nor {listed.name} has a column "
            f"{wanted['item']!r}; correct --columns"
        )
    catalogue = schema.items([(described, schema.texts(described))])
    return schema.log([table], catalogue, str(path))


def documented(folder: Path) -> list[str]:
    """The names of files in the documented form that a folder holds."""
    names = (stem + suffix for stem in ("interactions", "items") for suffix in SUFFIXES)
    return [name for name in names if (folder / name).exists()]


def find(folder: Path, stem: str) -> Path:
    """The one file of that name in the folder, in either format.

    Raises
    ------
    DataError
        If there is none, or more than one.
    """
    found = [stem + suffix for suffix in SUFFIXES if (folder / (stem + suffix)).exists()]
    others = [stem + suffix for suffix in _OTHER if (folder / (stem + suffix)).exists()]
    if not found:
        names = " or ".join(stem + suffix for suffix in _SHOWN)
        seen = f" ({others[0]}: {unknown_kind(folder / others[0])})" if others else ""
        raise DataError(f"{folder}: no {names}; both interactions and items are needed{seen}")
    if len(found) + len(others) > 1:
        raise DataError(f"{folder}: both {' and '.join((*found, *others)[:2])}; keep one")
    return folder / found[0]
