"""The rows of the table, and the page that is written from them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from shared.leaves.kept import KEPT
from shared.leaves.table import INTRODUCTION, STATUSES, TABLE


@dataclass(frozen=True)
class Leaf:
    """One row: a field, a file or a line.

    Attributes
    ----------
    name : str
        Its path, words joined by dots; `*` stands for any one word, `**` for anything.
    status : str
        A word of `STATUSES`; after `covered:` the ledger's words.
    why : str
        In a sentence.
    """

    name: str
    status: str
    why: str

    def covers(self, name: str) -> bool:
        """Whether a name found in the product is this one."""
        parts = re.split(r"(\*\*|\*)", self.name)
        pattern = "".join({"**": ".*", "*": r"[^./]*"}.get(p, re.escape(p)) for p in parts)
        return re.fullmatch(pattern, name) is not None


@dataclass(frozen=True)
class Section:
    """Rows of one kind of message, file or log.

    Attributes
    ----------
    title, way : str
        What it is, and from where to where.
    leaves : tuple of Leaf
        The first that covers a name is its row.
    """

    title: str
    way: str
    leaves: tuple[Leaf, ...]

    def find(self, name: str) -> Leaf | None:
        """The row of a name; None if it has no status."""
        return next((leaf for leaf in self.leaves if leaf.covers(name)), None)


def sections() -> dict[str, Section]:
    """All of the table, by key."""
    found: dict[str, Section] = {}
    table = re.sub(r"\n +", " ", TABLE + KEPT)  # a row may go on in the next line
    for block in re.split(r"^# ", table, flags=re.MULTILINE)[1:]:
        head, *rows = (line for line in block.splitlines() if line.strip())
        key, title, way = head.split(" | ")
        leaves = tuple(Leaf(*row.split(" | ")) for row in rows)
        found[key] = Section(title, way, leaves)
    return found


def page() -> str:
    """The text of `docs/what-leaves.md`."""
    parts = [INTRODUCTION + _rows(("status", "means"), STATUSES.items())]
    for section in sections().values():
        rows = [(f"`{leaf.name}`", leaf.status, leaf.why) for leaf in section.leaves]
        parts.append(
            f"## {section.title}\n\n{section.way}\n\n{_rows(('what', 'status', 'why'), rows)}"
        )
    return "\n".join(parts)


def _rows(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
