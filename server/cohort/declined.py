"""How many devices declined in each round, by the one word that they say: for the operator alone.

It depends on who is there and on what owners allow, and no noise covers it: so it is kept beside
Flower's own records of who is connected, not in the run's folder, its log or its checkpoint, and
only counts are.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from flwr.app import Message

from shared.errors import DECLINED, ConfigError
from shared.files import read_record, write_atomically

WORDS = (*DECLINED, "other")


class Declined:
    """A file of counts, written as replies come.

    Parameters
    ----------
    file : Path
        That of the same run's process before, if it was one, is gone on with.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._rounds = {str(number): counts for number, counts in read_declined(file).items()}
        self._round, self._seen = 0, dict[int, str]()

    def asked(self, number: int) -> None:
        """Another exchange of a round; 0: before the first."""
        if number != self._round:
            self._round, self._seen = number, {}

    def heard(self, reply: Message) -> None:
        """A reply: whether it says that its device takes no part."""
        word = _word_of(reply)
        if not word:
            return
        self._seen[reply.metadata.src_node_id] = word
        self._rounds[str(self._round)] = dict(Counter(self._seen.values()))
        write_atomically(self._file, json.dumps(self._rounds))


def read_declined(file: Path) -> dict[int, dict[str, int]]:
    """Round -> word -> how many devices; empty if nobody declined.

    Raises
    ------
    ConfigError
        If the file is damaged.
    """
    if not file.exists():
        return {}
    found = read_record(file, ())
    try:
        return {
            int(n): {word: int(counts[word]) for word in WORDS if word in counts}
            for n, counts in sorted(found.items(), key=lambda each: int(each[0]))
        }
    except (ValueError, TypeError):
        raise ConfigError(f"{file}: damaged; remove it, and counting begins anew") from None


def round_of(request: Message) -> int:
    """Which round a request is of."""
    fields: Any = request.content.config_records["config"]
    return int(fields["round"])


def _word_of(reply: Message) -> str:
    """Why a reply's device declines; empty: it does not, or nobody can tell."""
    if reply.has_error():
        return ""
    try:
        word = reply.content.config_records["config"].get("declined", "")
    except (KeyError, ValueError, TypeError):
        return ""
    return "" if not word else str(word) if word in DECLINED else "other"
