"""What a person asks for in words, as facts of the catalogue: a soft constraint on the ranking.

"Something lighter, no horror, from the nineties, like Alien" becomes

    lighter -> comedy     a gloss, or the kind whose name the text encoder finds nearest
    no horror             a kind, wanted or not: a denial holds up to the next comma or "but"
    the nineties          years: a decade, a year, before, after, between; old and new are the
                          oldest and the newest quarter of the catalogue
    like Alien            a title: it is read as if it were the latest choice

An item's score gains `WEIGHT` standard deviations of all scores for each fact that it has, and
loses as much for each that is not wanted; years that are asked for side by side are one fact. What
was understood is told, and what was not. The words are read on this machine and kept nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from client.words.facts import Items
from client.words.plain import DECADES
from shared.data.titles import titled, writings

Match = npt.NDArray[np.float64]
Encode = Callable[[Sequence[str]], npt.NDArray[np.float32]]  # texts -> vectors [texts, d]

WEIGHT = 4.0  # standard deviations of the scores; chosen on validation, see docs/words.md
_NEAR, _APART = 0.4, 0.05  # cosine with a kind's name, and how much nearer than the next
_DENIALS = {
    *("no", "not", "without", "nothing", "never", "except", "avoid", "less", "fewer", "neither"),
    *("nor", "none", "don't", "dont", "isn't", "hate", "dislike", "excluding"),
}
# What is asked with, and says nothing of what is asked for.
_FILLERS = set(
    re.findall(
        r"\S+",
        "a an the i me my you we us it its this that these those some any something anything one "
        "ones want wants wanted would could can should like likes please show give find recommend "
        "suggest need looking look for of from in on at to with by and or but as is are was be am "
        "i'd i'm film films movie movies title titles item items kind kinds sort type watch see "
        "read tonight today now more similar such maybe perhaps rather than let's lets about which "
        "who there here just so very really quite bit little lot made set stuff thing things "
        "good great nice best favourite favorite made year years decade era do does feel "
        "feeling mood fancy have has had only also too",
    )
)
# Words for a mood, as a kind may be called. General English, no catalogue's.
_GLOSSES = {
    "light": "comedy", "lighter": "comedy", "lighthearted": "comedy", "laugh": "comedy",
    "dark": "thriller", "darker": "thriller", "tense": "thriller", "suspense": "thriller",
    "sad": "drama", "serious": "drama", "moving": "drama", "exciting": "action",
    "cartoon": "animation", "animated": "animation", "cowboy": "western", "cowboys": "western",
    "detective": "mystery", "spaceship": "sci-fi", "spaceships": "sci-fi", "robots": "sci-fi",
    "kids": "children", "family": "children", "songs": "musical",
}  # fmt: skip
_YEAR = r"(?:19|20)\d\d"
_SPANS = (
    (rf"\b(?:between\s+)?({_YEAR})\s*(?:-|\u2013|to|and|until)\s*({_YEAR})\b", 0, 0),
    (rf"\b(?:before|older than)\s+({_YEAR})\b", None, -1),
    (rf"\b(?:until|up to)\s+({_YEAR})\b", None, 0),
    (rf"\b(?:after|newer than)\s+({_YEAR})\b", 1, None),
    (rf"\b(?:since|from)\s+({_YEAR})\s+on\b|\bsince\s+({_YEAR})\b", 0, None),
    (rf"(?<![\w'])({_YEAR})(?![\w'])", 0, 0),
)
_DECADE = re.compile(r"(?<!\w)'?((?:19|20)?[0-9]0)'?s\b|\b(" + "|".join(DECADES) + r")\b", re.I)
_OLD, _NEW = {"old", "older", "classic", "classics"}, {"new", "newer", "recent", "newest", "modern"}
_LATEST = 9999  # no year is later
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_ENDS = re.compile(r"[,;.!?]|\bbut\b", re.I)


@dataclass(frozen=True, eq=False)
class Part:
    """One thing that was understood.

    Attributes
    ----------
    words, meaning : str
        As it was asked, and what it was taken for.
    wanted : bool
    match : float64 [items]
        How far each item has it, in [0, 1]; of a title that is wanted all zero.
    title : int or None
        An item that was named.
    """

    words: str
    meaning: str
    wanted: bool
    match: Match
    title: int | None = None


@dataclass(frozen=True)
class Wish:
    """What was asked for.

    Attributes
    ----------
    parts : tuple of Part
    unclear : tuple of str
        Words that were not understood.
    """

    parts: tuple[Part, ...]
    unclear: tuple[str, ...]

    @property
    def named(self) -> list[int]:
        """Items that what is asked for should be like, in their order."""
        return [part.title for part in self.parts if part.wanted and part.title is not None]

    @property
    def rejected(self) -> list[int]:
        """Items that it should not be like."""
        return [part.title for part in self.parts if not part.wanted and part.title is not None]

    def fit(self, items: int) -> Match:
        """Facts that each item has, less those that it should not have, float64 [items]."""
        total = np.zeros(items)
        for part in self.parts:
            total += part.match if part.wanted else -part.match
        return total

    def met_by(self, item: int) -> list[str]:
        """What an item has of what is wanted, in words; titles left out."""
        return [part.meaning for part in self.parts if part.wanted and part.match[item] > 0]

    def told(self) -> Iterator[str]:
        """What was understood and what was not, a line each."""
        if self.parts:
            each = [("" if part.wanted else "not ") + part.meaning for part in self.parts]
            yield f"Understood: {'; '.join(each)}."
        if self.unclear:
            yield f"Not understood: {', '.join(self.unclear)}."
        if not self.parts and not self.unclear:
            yield "Nothing in particular was asked for."

    def plain(self) -> dict[str, object]:
        """As JSON has it."""
        parts = [
            {"words": part.words, "meaning": part.meaning, "wanted": part.wanted}
            for part in self.parts
        ]
        return {"understood": parts, "not_understood": list(self.unclear)}


@dataclass
class _Reading:
    """A text that is read from the clearest to the least clear: what was taken becomes blanks."""

    text: str
    parts: list[tuple[int, Part]] = field(default_factory=list)

    def wanted(self, place: int) -> bool:
        """Whether nothing denies what stands at a place: up to the clause's beginning."""
        ends = [end.end() for end in _ENDS.finditer(self.text, 0, place)]
        clause = self.text[ends[-1] if ends else 0 : place].lower()
        return not _DENIALS & set(_WORD.findall(clause.replace("\u2019", "'")))

    def take(self, start: int, end: int, meaning: str, match: Match, title: int | None) -> None:
        """Keep what a stretch of the text means, and read it no more."""
        words = self.text[start:end]
        self.parts.append((start, Part(words, meaning, self.wanted(start), match, title)))
        self.text = self.text[:start] + "\0" * (end - start) + self.text[end:]


class Reader:
    """Reads wishes over one catalogue.

    Parameters
    ----------
    items : Items
    vectors : ndarray float [items, d]
        The items' text vectors, of unit length.
    encode : callable, optional
        The text encoder: texts to vectors. Without one words are matched by rules alone.
    """

    def __init__(
        self, items: Items, vectors: npt.NDArray[np.float32], encode: Encode | None = None
    ) -> None:
        self._items, self._vectors, self._encode = items, vectors, encode
        self._kinds = [kind for kind, count in items.counts.most_common() if count > 1]

    def read(self, words: str) -> Wish:
        """What a text asks for.

        Parameters
        ----------
        words : str
            Any text; an empty one asks for nothing.
        """
        reading = _Reading(words.replace("\0", " ").replace("\u2019", "'"))
        self._read_titles(reading)
        self._read_years(reading)
        self._read_kinds(reading)
        unclear = self._read_rest(reading)
        parts = [part for _, part in sorted(reading.parts, key=lambda each: each[0])]
        return Wish(tuple(_together(parts)), tuple(unclear))

    def _read_titles(self, reading: _Reading) -> None:
        names = [
            (name, item)
            for item, text in enumerate(self._items.catalogue.texts)
            for name in writings(titled(text)[0])
        ]
        lower = reading.text.lower()
        present = [(name, item) for name, item in names if name.lower() in lower]
        for name, item in sorted(present, key=lambda each: (-len(each[0]), each[1])):
            for at in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", reading.text, re.I):
                if _meant(name, reading.text, at.start()):
                    wanted = reading.wanted(at.start())
                    match = np.zeros(len(self._items)) if wanted else self._alike(item)
                    title = self._items[item].title
                    reading.take(at.start(), at.end(), f"like {title}", match, item)
                    break

    def _alike(self, item: int) -> Match:
        """Likeness of texts, in [0, 1]: 1 of the item itself and of the nearest other one."""
        near: Match = np.clip(self._vectors @ self._vectors[item], 0, None).astype(np.float64)
        near[item] = 0
        near /= max(float(near.max()), 1e-12)
        near[item] = 1
        return near

    def _read_years(self, reading: _Reading) -> None:
        for pattern, first, last in _SPANS:
            for at in list(re.finditer(pattern, reading.text, re.I)):
                years = [int(year) for year in at.groups() if year]
                low = 0 if first is None else years[0] + first
                self._take_years(reading, at, low, _LATEST if last is None else years[-1] + last)
        for at in list(_DECADE.finditer(reading.text)):
            named = at[1]
            decade = DECADES[at[2].lower()] if at[2] else int(named if len(named) > 2 else 0)
            if not decade:
                decade = (1900 if int(named) >= 20 else 2000) + int(named)
            self._take_years(reading, at, decade, decade + 9)
        known = self._items.years[self._items.years > 0]
        for at in list(_WORD.finditer(reading.text)) if len(known) else ():
            if at[0].lower() in _OLD:
                self._take_years(reading, at, 0, int(np.quantile(known, 0.25)), at[0])
            elif at[0].lower() in _NEW:
                self._take_years(reading, at, int(np.quantile(known, 0.75)), _LATEST, at[0])

    def _take_years(
        self, reading: _Reading, at: re.Match[str], low: int, high: int, word: str = ""
    ) -> None:
        years = self._items.years
        match = ((years >= max(low, 1)) & (years <= high)).astype(np.float64)
        meaning = f"of {low}" if low == high else f"of {low} to {high}"
        meaning = f"up to {high}" if low == 0 else f"from {low} on" if high == _LATEST else meaning
        meaning += f" (for {word!r})" if word else ""
        reading.take(at.start(), at.end(), meaning, match, None)

    def _read_kinds(self, reading: _Reading) -> None:
        lower = reading.text.lower()
        present = [kind for kind in self._kinds if kind[:3] in lower]  # of thousands, a few
        for kind in sorted(present, key=lambda each: (-len(each), each)):
            bare = re.escape(kind).replace(r"\-", "[- ]?").replace("'s", "(?:'?s)?")
            stem = f"(?:{bare}|{bare[:-1]}ie)" if kind.endswith("y") else bare
            for at in list(re.finditer(rf"(?<!\w){stem}(?:s|es)?(?!\w)", reading.text, re.I)):
                if kind not in _FILLERS:
                    reading.take(at.start(), at.end(), kind, self._having(kind), None)

    def _having(self, kind: str) -> Match:
        return np.array([kind in some for some in self._items.phrases], dtype=np.float64)

    def _read_rest(self, reading: _Reading) -> list[str]:
        """Kinds that other words mean; the words that mean none."""
        left = [
            at
            for at in _WORD.finditer(reading.text.replace("\0", " "))
            if at[0].lower() not in _FILLERS | _DENIALS and not at[0].isdigit()
        ]
        meant = self._meanings([_called(at, reading.text) for at in left])
        for at, kind in zip(left, meant, strict=True):
            if kind:
                meaning = f"{kind} (for {at[0]!r})"
                reading.take(at.start(), at.end(), meaning, self._having(kind), None)
        numbers = [at[0] for at in re.finditer(r"(?<!\w)\d+(?!\w)", reading.text)]
        return [at[0] for at, kind in zip(left, meant, strict=True) if not kind] + numbers

    def _meanings(self, words: list[str]) -> list[str | None]:
        """The kind that each word means, by a gloss or the encoder; None for none."""
        found = [self._glossed(word) for word in words]
        pairs = zip(words, found, strict=True)
        unclear = sorted({word for word, kind in pairs if kind is None and word.islower()})
        if self._encode is None or not unclear or not self._kinds:
            return found
        vectors = self._encode([*unclear, *self._kinds])
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
        near = vectors[: len(unclear)] @ vectors[len(unclear) :].T  # [words, kinds]
        named: dict[str, str] = {}
        for word, row in zip(unclear, near, strict=True):
            first, second = [*np.sort(row)[::-1], -1.0][:2]
            if first >= _NEAR and first - second >= _APART:
                named[word] = self._kinds[int(row.argmax())]
        return [kind or named.get(word) for word, kind in zip(words, found, strict=True)]

    def _glossed(self, word: str) -> str | None:
        gloss = _GLOSSES.get(word.lower())
        fitting = [kind for kind in self._kinds if gloss and kind.startswith(gloss)]
        return min(fitting, key=len) if fitting else None


def _called(at: re.Match[str], text: str) -> str:
    """A word in lower case, but a name as it is: no encoder of kinds knows people."""
    opening = not text[: at.start()].strip(" \0") or text[: at.start()].rstrip()[-1] in ".!?"
    return at[0].lower() if opening else at[0]


def _meant(name: str, text: str, place: int) -> bool:
    """Whether a title's words are meant as one: of a single word only where it is called one."""
    before = text[:place].rstrip().lower()
    called = before.endswith((" like", "similar to", '"', "\u201c")) or before == "like"
    if " " not in name:
        inside = bool(before) and text[place].isupper() and before[-1] not in ".!?"
        return called or inside
    said = {word.lower() for word in _WORD.findall(name)}
    return called or not said <= _FILLERS | _DENIALS | _OLD | _NEW


def _together(parts: Sequence[Part]) -> Iterator[Part]:
    """Years that are wanted side by side as one part: no item is of two. The same thing once."""
    spans = {part.meaning: part for part in parts if part.wanted and _SPAN.match(part.meaning)}
    said = set()
    for part in parts:
        plain = part.meaning.partition(" (for ")[0]
        if not (part.wanted and part.meaning in spans) and (plain, part.wanted) not in said:
            said.add((plain, part.wanted))
            yield part
    if spans:
        match = np.maximum.reduce([part.match for part in spans.values()])
        words = " ".join(part.words for part in spans.values())
        yield Part(words, " or ".join(spans), True, match)


_SPAN = re.compile(r"(?:of \d+(?: to \d+)?|up to \d+|from \d+ on)$")
