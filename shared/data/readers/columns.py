"""The documented columns of an interaction log and its items.

`interactions.csv|parquet` holds `user,item,timestamp[,...]` and `items.csv|parquet` beside it
`item,text[,...]`, or columns of other names that are mapped to these. Further columns are allowed
and not read here. A mistake is refused, never repaired: the message names file, row and rule.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from shared.data.catalogue import Catalogue
from shared.data.log import InteractionLog
from shared.data.readers import schema
from shared.data.readers.content import check_regular
from shared.data.readers.folder import find, suffix_of, twins, unknown_kind
from shared.data.readers.table import MissingColumnError, Table
from shared.data.readers.tables import read_table
from shared.errors import ConfigError, DataError

ROLES = ("user", "item", "timestamp", "text")


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
    # A folder may have any name; one of parts may be named as a table.
    folder = path.is_dir() and (suffix_of(path) is None or bool(twins(path, "interactions.csv")))
    interactions = find(path, "interactions") if folder else path
    if not (interactions.exists() or interactions.is_symlink()):
        raise DataError(f"{path}: no such file or folder; see 'starling data ls' for known names")
    if suffix_of(interactions) is None:
        raise DataError(f"{path}: {unknown_kind(interactions)}")
    check_regular(interactions)
    listed = find(interactions.parent, "items")
    wanted = {role: columns.get(role, role) for role in ROLES}
    text = wanted.pop("text")
    table = _read(interactions, wanted, columns)
    described = _read(listed, {"item": wanted["item"], "text": text}, columns)
    if wanted["item"] not in (table.name("item"), described.name("item")):
        raise DataError(
            f"{path}: neither {interactions.name} nor {listed.name} has a column "
            f"{wanted['item']!r}; correct --columns"
        )
    catalogue = schema.items([(described, schema.texts(described))])
    return schema.log([table], catalogue, str(path))


def read_items(path: Path, columns: Mapping[str, str] | None = None) -> Catalogue:
    """The items at a path, whatever interactions lie beside them.

    Parameters
    ----------
    path : Path
        A folder holding `items.csv` or `.parquet`, or an items file of any name.
    columns : mapping of str to str, optional
        As for `read_log`.

    Raises
    ------
    DataError
        As `read_log`.
    """
    columns = columns or {}
    folder = path.is_dir() and (suffix_of(path) is None or bool(twins(path, "items.csv")))
    listed = find(path, "items", "give a folder with the items, or their file") if folder else path
    if suffix_of(listed) is None:
        raise DataError(f"{path}: {unknown_kind(listed)}")
    check_regular(listed)
    wanted = {role: columns.get(role, role) for role in ("item", "text")}
    described = _read(listed, wanted, columns)
    return schema.items([(described, schema.texts(described))]).catalogue


def _read(path: Path, wanted: Mapping[str, str], columns: Mapping[str, str]) -> Table:
    """A file; one of the two may have the documented name of `item` although the other has not."""
    try:
        return read_table(path, wanted, either=("item",))
    except MissingColumnError as error:
        if error.near is None:
            raise DataError(f"{error}, or say which with --columns {error.role}=NAME") from None
        said = _said({**columns, error.role: error.near})
        # One file's name for `item` is not the other's: to say another would lose the first.
        if said is None or (error.role == "item" and "item" in columns):
            raise
        raise DataError(f"{error}, or say --columns {shlex.quote(said)}") from None


def _said(columns: Mapping[str, str]) -> str | None:
    """What `parse_columns` takes for these; None if nothing is, as for a name with a comma."""
    text = ",".join(f"{role}={name}" for role, name in columns.items())
    try:
        return text if text.isprintable() and parse_columns(text) == columns else None
    except ConfigError:
        return None
