"""What can be said of a history: titles, and counts of what stands in the items' public texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from shared.data.attributes import Years, phrases_of, years_of
from shared.data.catalogue import Catalogue
from shared.data.titles import readable, titled

RECENT = 10  # of the latest choices: what is called "of late"
_FEWEST = 3  # choices with an attribute that is said to be marked
_MARKED = 1.5  # times the catalogue's share, from which on it is


@dataclass(frozen=True, order=True)
class Known:
    """An item as its public text has it.

    Attributes
    ----------
    title : str
        As it is said, its article in front.
    year : int
        0 for none.
    phrases : frozenset of str
        What its text says after the title, in lower case: genres, a maker.
    """

    title: str
    year: int
    phrases: frozenset[str]

    @property
    def decade(self) -> int:
        """Its first year; 0 for none."""
        return self.year // 10 * 10


class Items:
    """A catalogue's items as they may be spoken of.

    Parameters
    ----------
    catalogue : Catalogue
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def __len__(self) -> int:
        return len(self.catalogue)

    def __getitem__(self, item: int) -> Known:
        text = self.catalogue.texts[item]  # of it alone: an answer names a few of many items
        title, about = titled(text)
        return Known(readable(title), int(years_of([text])[0]), frozenset(phrases_of(about)))

    @cached_property
    def years(self) -> Years:
        """Of each item, int64 [items]; 0 for none."""
        return years_of(self.catalogue.texts)

    @cached_property
    def phrases(self) -> tuple[frozenset[str], ...]:
        """Of each item."""
        return tuple(frozenset(phrases_of(titled(text)[1])) for text in self.catalogue.texts)

    @cached_property
    def counts(self) -> Counter[str]:
        """How many items of the catalogue have each phrase."""
        return Counter(phrase for some in self.phrases for phrase in some)


@dataclass(frozen=True)
class Facts:
    """What may be said of some items.

    Attributes
    ----------
    items : tuple of Known
        Oldest first.
    recent : tuple of Known
        The latest 10 of them, latest first.
    liked : frozenset of str
        Titles that the person said they like.
    attributes : tuple of (phrase, count)
        Those of two items at least, most frequent first.
    decades : tuple of (first year, count)
        Most frequent first.
    marked : tuple of (phrase, times)
        More frequent than in the catalogue, and how many times so, most first.
    """

    items: tuple[Known, ...]
    recent: tuple[Known, ...]
    liked: frozenset[str]
    attributes: tuple[tuple[str, int], ...]
    decades: tuple[tuple[int, int], ...]
    marked: tuple[tuple[str, float], ...]


def facts_of(
    items: Items, history: npt.NDArray[np.int64] | Sequence[int], liked: Iterable[int] = ()
) -> Facts:
    """Count what a history holds.

    Parameters
    ----------
    items : Items
    history : int64 [n]
        Oldest first; may be empty.
    liked : iterable of int
        Items of it that the person said they like.
    """
    chosen = [items[item] for item in map(int, history)]
    counts = Counter(phrase for item in chosen for phrase in item.phrases)
    decades = Counter(item.decade for item in chosen if item.year)
    everything = len(items)
    times = {
        phrase: (count / len(chosen)) / (items.counts[phrase] / everything)
        for phrase, count in counts.items()
        if count >= _FEWEST
    }
    marked = [(phrase, times[phrase]) for phrase in times if times[phrase] >= _MARKED]
    return Facts(
        tuple(chosen),
        tuple(reversed(chosen[-RECENT:])),
        frozenset(items[item].title for item in liked),
        tuple(sorted(((p, n) for p, n in counts.items() if n > 1), key=_most)),
        tuple(sorted(decades.items(), key=_most)),
        tuple(sorted(marked, key=_most)),
    )


def _most(entry: tuple[str | int, float]) -> tuple[float, str | int]:
    return -entry[1], entry[0]


def in_common(items: Sequence[Known]) -> list[str]:
    """Phrases, and the decade as in `1990s`, that are true of all of some items."""
    if not items:
        return []
    shared = sorted(frozenset.intersection(*(item.phrases for item in items)))
    decades = {item.decade for item in items}
    decade = decades.pop() if len(decades) == 1 else 0
    return [*shared, *([f"{decade}s"] if decade else [])]
