"""All that a device keeps of its person: shown in one file, taken back, paused.

What is forgotten is written over before it is removed. What stays says how much was spent: records
in which rounds the device took part, and a mark that it takes part in none any more. A folder that
could begin again would count as nothing what others keep.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from client.store import FILE, Store, erase
from client.store.database import FORGOTTEN
from shared.canonical import finite
from shared.data.catalogue import Catalogue
from shared.errors import ConfigError, DataError
from shared.files import read_file, write_atomically
from shared.privacy.policy.caps import load_caps, write_safe_caps

TENSORS = "personal.sqlite"
_COPIES = ("store.copy.sqlite*", f"{FILE}.damaged-*")  # first: none may be restored from
_PERSONAL = (*_COPIES, f"{FILE}*", f"{TENSORS}*")
_RECORDS = ("participation*.jsonl", "ledger*.jsonl")
_NOT_IN_IT = (
    "the key by which other devices know this one (identity.pem), which is a secret",
    "the catalogue and the operator's releases, which are public",
    "keys of a secure sum that is under way: they are in the memory of the device's process alone",
    "what was contributed to sums and models: it is not kept here",
)


def forgotten(state: Path) -> bool:
    """Whether a device has forgotten its person, or has begun to."""
    return os.path.lexists(state / FORGOTTEN)


def forget(state: Path) -> list[str]:
    """Erase what is kept of the person, and take part in nothing from now on.

    The mark comes first: after a crash in between the device is silent, and this ends it when it is
    done again.

    Returns
    -------
    list of str
        The names of what was erased.

    Raises
    ------
    ConfigError
        If something cannot be erased.
    """
    try:
        if not forgotten(state):
            time = datetime.now(UTC).isoformat(timespec="seconds")
            write_atomically(state / FORGOTTEN, json.dumps({"forgotten": time}))
        # Whoever is writing ends first; whoever comes later finds the mark.
        with FileLock(state / "store.lock", mode=0o600, fallback_to_soft=False):
            files = [file for pattern in _PERSONAL for file in sorted(state.glob(pattern))]
            for file in dict.fromkeys(files):
                erase(file)
    except OSError as error:
        raise ConfigError(
            f"{error.filename or state}: cannot be erased ({error.strerror})"
        ) from None
    return sorted({file.name for file in files})


def export(state: Path, owned: Mapping[str, Any], catalogue: Catalogue, store: Store) -> str:
    """All that is kept about the person as readable JSON, and what is not in it.

    Raises
    ------
    ConfigError, DataError
        If something that is kept cannot be read.
    """
    texts = dict(zip(catalogue.item_ids, catalogue.texts, strict=True))
    did = [{**asdict(each), "text": texts.get(each.item)} for each in store.interactions()]
    said = [
        {"item": item, "text": texts.get(item), "liked": liked}
        for item, liked in store.opinions().items()
    ]
    records = [file for pattern in _RECORDS for file in sorted(state.glob(pattern))]
    kept = {
        "format": "starling export 1",
        "configured": dict(owned),
        "interactions": did,
        "opinions": said,
        "shown": [asdict(each) for each in store.shown()],
        "allowed": asdict(load_caps(state / "caps.toml")),
        "agreed": _json(state / "agreement.json"),
        "records": {file.name: _lines(file) for file in records},
        "clock": _json(state / "clock.json"),
        "sums": _json(state / "sums.json"),
        "tensors": _tensors(state / TENSORS),
        "not in it": list(_NOT_IN_IT),
    }
    return json.dumps(finite(kept), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def pause(caps: Path, paused: bool) -> None:
    """Write `pause` into a file of caps; what else the owner wrote there stays as it is.

    Raises
    ------
    ConfigError
        If the file is not one of caps, or cannot be written.
    """
    write_safe_caps(caps)
    load_caps(caps)  # what is wrong already is told, not written over
    word = str(paused).lower()
    try:
        text = caps.read_text(encoding="utf-8")
        lines, count = re.subn(
            r"(?m)^([ \t]*pause[ \t]*=[ \t]*)(true|false)", rf"\g<1>{word}", text
        )
        if not count:
            lines = f"pause = {word}\n{text}"
        write_atomically(caps, lines)
    except OSError as error:
        raise ConfigError(f"{caps}: cannot be written ({error.strerror})") from None


def _json(file: Path) -> Any:
    """What a file holds; None where there is none."""
    try:
        return json.loads(read_file(file))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read ({error})") from None


def _lines(file: Path) -> list[Any]:
    """A record's lines; the last one that a crash cut short is left out."""
    try:
        lines = read_file(file).decode().split("\n")[:-1]
        return [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read ({error})") from None


def _tensors(file: Path) -> list[dict[str, Any]]:
    """What training left here for this device alone."""
    if not file.exists():
        return []
    try:
        with closing(sqlite3.connect(file)) as database:
            rows = database.execute("SELECT settings, round, value FROM personal").fetchall()
    except sqlite3.Error as error:
        raise DataError(f"{file}: cannot be read ({error})") from None
    return [
        {"settings": settings, "round": number, "values": np.frombuffer(value, "<f4").tolist()}
        for settings, number, value in rows
    ]
