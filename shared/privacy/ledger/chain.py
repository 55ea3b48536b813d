"""The ledger's text: a header and entries as JSON lines, each chained to the one before.

    hash_k = SHA-256(hash_{k-1} || canonical JSON of line k's content)

A line is accepted only if it is, byte for byte, what would be written for its content.
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Literal, cast, get_args

from dp_accounting import DpEvent

from shared.canonical import canonical_json, read_json
from shared.errors import ConfigError, LedgerError
from shared.privacy.accounting.events import event_from_json, event_to_json
from shared.privacy.guarantee import Guarantee

Release = Literal["histogram", "moments", "update", "training", "metrics", "feedback"]
"""`moments` say which items people have together. `training` is a whole run under correlated
noise, counted once; its rounds are `update`s that cost nothing more. `metrics` are noised figures
of how well the model does; `feedback` is how items that were shown were answered.
"""

_FORMAT = "starling ledger 2"
_GENESIS = "0" * 64  # stands for the line before the first
_PROMISED = {known.name for known in fields(Guarantee)}
_OTHERS = {"policy", "created", "identity"}
_TYPES = {"delta": float, "budget": float, "group": int}  # of a header's fields; text else


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class LedgerHeader:
    """The guarantee that the entries are counted towards, and the settings that gave it.

    Parameters
    ----------
    guarantee : Guarantee
    settings : str
        Hash of the settings, see `shared.config.settings_hash`; the text calls it "policy".
    created : str
        UTC time; now by default.
    identity : str
        Random, so that no two ledgers end in the same hash.
    """

    guarantee: Guarantee
    settings: str
    created: str = field(default_factory=_now)
    identity: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def promise(self) -> tuple[Guarantee, str]:
        """All that is promised: what two ledgers of one guarantee agree in."""
        return self.guarantee, self.settings


@dataclass(frozen=True)
class LedgerEntry:
    """One release.

    Parameters
    ----------
    index : int
        1 for the first entry.
    round : int
        Of the federation, >= 0.
    release : {"histogram", "moments", "update", "training", "metrics", "feedback"}
    event : dp_accounting.DpEvent
        What was done to the data.
    """

    index: int
    round: int
    release: Release
    event: DpEvent


class Chain:
    """The content of a ledger, built line by line.

    Parameters
    ----------
    source : str
        What error messages call it: the file's name.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._header: LedgerHeader | None = None
        self.entries: list[LedgerEntry] = []
        self.heads: list[str] = []  # one per line
        self.size = 0  # bytes

    @property
    def header(self) -> LedgerHeader:
        """The first line.

        Raises
        ------
        LedgerError
            If there is none.
        """
        if self._header is None:
            raise LedgerError(f"{self._source}: line 1: the header is missing")
        return self._header

    @property
    def head(self) -> str:
        """Hash of the last line: 64 hexadecimal digits."""
        return self.heads[-1] if self.heads else _GENESIS

    def header_line(self, header: LedgerHeader) -> bytes:
        """What would be written for a header."""
        told = header.guarantee
        numbers = {"delta": float(told.delta), "budget": float(told.budget)}
        content = {"format": _FORMAT, **vars(told), **numbers, "policy": header.settings}
        return self._line({**content, "created": header.created, "identity": header.identity})

    def entry_line(self, round: int, release: str, event: DpEvent) -> bytes:
        """What would be written for the next entry.

        Raises
        ------
        ConfigError
            For an unknown release or kind of event, or a round below 0.
        """
        if type(round) is not int or round < 0:
            raise ConfigError(f"round = {round!r}: expected a whole number >= 0")
        known = {"index": len(self.entries) + 1, "round": round}
        named = {"release": check_release(release), "event": event_to_json(event)}
        return self._line({**known, **named})

    def add(self, line: bytes) -> None:
        """Check the next line and take it over; on an error nothing changes.

        Raises
        ------
        LedgerError
            If it is not what would have been written after the lines before.
        """
        try:
            content = read_json(line)["content"]
            if self._header is None:
                header = _header_from(content)
                intact = line == self.header_line(header)
            else:
                entry = _entry_from(content)
                intact = line == self.entry_line(entry.round, entry.release, entry.event)
                intact = intact and entry.index == len(self.entries) + 1
        except (ConfigError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise self._broken(f"not a ledger line ({str(error)[:100]})") from None
        if not intact:
            raise self._broken("edited, or a line before it was removed, added or moved")
        if self._header is None:
            self._header = header
        else:
            self.entries.append(entry)
        self.heads.append(json.loads(line)["hash"])
        self.size += len(line)

    def _line(self, content: dict[str, Any]) -> bytes:
        text = canonical_json(content)
        digest = hashlib.sha256(f"{self.head}{text}".encode()).hexdigest()
        return f'{{"content":{text},"hash":"{digest}"}}\n'.encode()

    def _broken(self, what: str) -> LedgerError:
        number = 1 if self._header is None else len(self.entries) + 2
        return LedgerError(f"{self._source}: line {number}: {what}; do not trust this ledger")


def check_release(release: str) -> Release:
    """The release, if it is a known one.

    Raises
    ------
    ConfigError
        For any other word.
    """
    for known in get_args(Release):
        if release == known:
            return cast(Release, known)
    raise ConfigError(f"release = {release!r}: expected one of {', '.join(get_args(Release))}")


def _header_from(content: Any) -> LedgerHeader:
    values = dict(content)
    if values.pop("format") != _FORMAT:
        raise ConfigError(f"format: expected {_FORMAT!r}")
    if set(values) != _PROMISED | _OTHERS:
        raise ConfigError("the header has other fields than expected")
    for name, value in values.items():
        if type(value) is not _TYPES.get(name, str):
            if name == "budget" and value == "inf":
                values[name] = math.inf
                continue
            raise ConfigError(f"{name} = {value!r}: of another type than expected")
    guarantee = Guarantee(**{name: values[name] for name in _PROMISED})
    return LedgerHeader(guarantee, values["policy"], values["created"], values["identity"])


def _entry_from(content: Any) -> LedgerEntry:
    return LedgerEntry(
        index=content["index"],
        round=content["round"],
        release=check_release(content["release"]),
        event=event_from_json(content["event"]),
    )
