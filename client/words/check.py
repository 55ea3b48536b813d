"""Whether a text says of a person's items only what stands in their public texts.

A closed world: a sentence may hold titles of the items that may be named, phrases and years of
their texts, counts of these, and words of `plain`. Everything else, whatever it is, is refused: an
invented title has no word that gives it away, so it is not looked for. Of what is allowed:

    a title       is written as in the catalogue, whole, and with its own year if with any
    a phrase      of a sentence with titles is true of every one of them; so is a year or a decade
    a number      is the count of the phrase or decade that it stands before, or how many there are
    most, mainly  speak of what leads; lately, recently of what is recent; all, only of what is true
                  of everything; liked, enjoyed, with a title, of what the person said they like

What it cannot see: whether a sentence of plain words makes sense, whether "you enjoy drama" follows
from having chosen it, or whether the "It" or "You" that opens a sentence is a film of that name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from client.words.facts import Facts, Items, Known
from client.words.plain import DECADES, LEADING, NUMBERS, OPINION, PLAIN, RECENT, WHOLE
from shared.data.titles import titled, writings

_CLAIMS = ("phrase", "year", "decade")
_LEADERS = 3  # attributes, or decades, that most may be said of
_MARK = "\N{REPLACEMENT CHARACTER}"  # stands where a title stood
_WORD = re.compile(rf"{_MARK}\d+{_MARK}|\d[\d,]*s?|[^\W\d_]+(?:['-][^\W\d_]+)*|\S")
_TELLING = re.compile(r"[^\W\d_]|\(")  # "187" alone would be any number; with its year it is none
_DATED = re.compile(r"\s*\((\d+)\)")
_NUMBERED = re.compile(r"(?:\s|[-:#])*(?:\d|[IVX]+\b)")
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")
_QUOTES = set("\"'`\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb\u2039\u203a")
_DASHES = {"\u2010": "-", "\u2011": "-", "\u2019": "'"}
_POINTS = set(".,;:!?()&-\u2013\u2014/")


@dataclass(frozen=True)
class Finding:
    """One sentence, and what is wrong with it.

    Attributes
    ----------
    sentence : str
    wrong : str
        Empty where nothing is.
    titles : tuple of str
        What it names, of what may be named.
    claims : int
        Titles, phrases, years and decades in it.
    """

    sentence: str
    wrong: str
    titles: tuple[str, ...] = ()
    claims: int = 0


class Titles:
    """All titles of a catalogue in every way they are written.

    Parameters
    ----------
    items : Items
    """

    def __init__(self, items: Items) -> None:
        self._names: dict[str, dict[str, set[Known]]] = {}
        for index, text in enumerate(items.catalogue.texts):
            known = items[index]
            for name in filter(_TELLING.search, writings(titled(text)[0])):
                starting = self._names.setdefault(_first(name), {})
                starting.setdefault(name, set()).add(known)

    def at(self, text: str, place: int) -> tuple[str, set[Known]] | None:
        """The longest title that stands at a place of a text, and whose it is."""
        starting = self._names.get(_first(text[place:]), {})
        found = [name for name in starting if _stands(name, text, place)]
        return (longest := max(found, key=len), starting[longest]) if found else None


@dataclass(frozen=True)
class Checker:
    """Checks texts on one set of facts.

    Attributes
    ----------
    facts : Facts
        Whose items may be named.
    titles : Titles
        Of the whole catalogue: a longer title of another item is not a shorter one of these.
    """

    facts: Facts
    titles: Titles

    def findings(self, text: str) -> list[Finding]:
        """Every sentence of a text, in order, with what is wrong with it."""
        marked, named, wrong = self._marked(_plainly(text))
        found = []
        for sentence in filter(None, map(str.strip, _SENTENCE.split(marked))):
            shown = re.sub(rf"{_MARK}(\d+){_MARK}", lambda at: named[int(at[1])][0], sentence)
            places = [int(at) for at in re.findall(rf"{_MARK}(\d+){_MARK}", sentence)]
            first = next((wrong[place] for place in places if place in wrong), "")
            read = list(self._read(_WORD.findall(sentence)))
            claims = [token for token in read if token.kind in ("title", *_CLAIMS)]
            titles = tuple(item.title for place in places for item in sorted(named[place][1]))
            badly = _badly_made(shown, [str(token.value) for token in read if token in claims])
            wrong_here = first or self._wrong(read, named) or badly
            found.append(Finding(shown, wrong_here, titles, len(claims)))
        return found

    def passes(self, text: str) -> bool:
        """Whether there is a sentence, and nothing is wrong with any."""
        found = self.findings(text)
        return bool(found) and not any(each.wrong for each in found)

    def _marked(self, text: str) -> tuple[str, list[tuple[str, set[Known]]], dict[int, str]]:
        """The text with a mark for each title, the titles as written, and which are wrong."""
        parts: list[str] = []
        named: list[tuple[str, set[Known]]] = []
        wrong: dict[int, str] = {}
        place = 0
        while place < len(text):
            found = self.titles.at(text, place) if _begins(text, place) else None
            if found is None or (found[0].lower() in PLAIN and _opens(parts)):
                parts.append(text[place])
                place += 1
                continue
            meant, end = found[1] & set(self.facts.items), place + len(found[0])
            number = len(named)
            if dated := _DATED.match(text, end):
                meant = {item for item in meant if item.year == int(dated[1])}
                end = dated.end()
            if not meant:
                wrong[number] = f"{text[place:end]!r} is none of the titles that may be named"
            elif _NUMBERED.match(text, end):
                wrong[number] = f"{text[place : end + 8]!r} is a longer title"
            named.append((text[place:end], meant))
            parts.append(f"{_MARK}{number}{_MARK}")
            place = end
        return "".join(parts), named, wrong

    def _wrong(self, read: Sequence[Token], named: Sequence[tuple[str, set[Known]]]) -> str:
        if unknown := next((token.text for token in read if token.kind == "unknown"), None):
            return f"{unknown!r} is in none of these items' texts, and no plain word"
        titles = [named[int(token.value)][1] for token in read if token.kind == "title"]
        words = {token.text.lower() for token in read}
        claims = [token for token in read if token.kind in _CLAIMS]
        for token in claims:
            if untrue := self._untrue(token, titles, words):
                return untrue
        if words & RECENT and any(not each & set(self.facts.recent) for each in titles):
            return "names as recent what is not"
        if words & OPINION and any(
            not any(item.title in self.facts.liked for item in each) for each in titles
        ):
            return "says of a title that it was liked, which the person did not say"
        return self._miscounted(read, bool(words & RECENT))

    def _untrue(self, token: Token, titles: Sequence[set[Known]], words: Collection[str]) -> str:
        """What is wrong with a phrase, a year or a decade in its sentence."""
        meant: Collection[Known] = self.facts.items
        for several in titles:
            if not any(_is_of(token, item) for item in several):
                return f"{token.text!r} is not true of every title in the sentence"
        if not any(_is_of(token, item) for item in meant):
            return f"{token.text!r} is true of none of these items"
        if set(words) & RECENT and not any(_is_of(token, item) for item in self.facts.recent):
            return f"{token.text!r} is true of nothing recent"
        if not titles and set(words) & WHOLE and not all(_is_of(token, item) for item in meant):
            return f"{token.text!r} is not true of all"
        if titles or not set(words) & LEADING or token.kind == "year":
            return ""
        leading = {str(name) for name, _ in self.facts.attributes[:_LEADERS]}
        leading |= {str(decade) for decade, _ in self.facts.decades[:_LEADERS]}
        leading |= {phrase for phrase, _ in self.facts.marked[:_LEADERS]}
        return "" if str(token.value) in leading else f"{token.text!r} is not what leads"

    def _miscounted(self, read: Sequence[Token], late: bool) -> str:
        """A number that is no count of what it stands at."""
        for place, token in enumerate(read):
            if token.kind != "number":
                continue
            meant = self._counted(read, place)
            right = {len(self.facts.items)}
            if meant is not None:
                right = {_count(meant, self.facts.items)}
            if late:
                among = self.facts.recent
                right |= {len(among) if meant is None else _count(meant, among)}
            if token.value not in right:
                at = f" for {meant.text!r}" if meant else ""
                return f"{token.text!r} is not the count{at}"
        return ""

    def _counted(self, read: Sequence[Token], place: int) -> Token | None:
        """What a number counts: before it if it is in parentheses, else what follows it."""
        kinds = ("phrase", "decade")
        if place and read[place - 1].text == "(":
            return next((each for each in reversed(read[:place]) if each.kind in kinds), None)
        for each in read[place + 1 :]:
            if each.kind in kinds:
                return each
            if each.kind == "number" or each.text in (",", ";", ":"):
                return None
        return None

    @cached_property
    def _phrases(self) -> dict[tuple[str, ...], str]:
        """Words of each phrase that may be said, in singular and plural, and the phrase."""
        found: dict[tuple[str, ...], str] = {}
        for phrase in {each for item in self.facts.items for each in item.phrases}:
            for form in (phrase, f"{phrase}s", re.sub("y$", "ies", phrase)):
                found[tuple(_WORD.findall(form))] = phrase
        return found

    def _read(self, tokens: Sequence[str]) -> Iterator[Token]:
        place, longest = 0, max(map(len, self._phrases), default=0)
        while place < len(tokens):
            for length in range(min(longest, len(tokens) - place), 0, -1):
                words = tuple(token.lower() for token in tokens[place : place + length])
                if phrase := self._phrases.get(words):
                    yield Token("phrase", " ".join(tokens[place : place + length]), phrase)
                    break
            else:
                length = 1
                yield _token(tokens, place)
            place += length


@dataclass(frozen=True)
class Token:
    """A word of a sentence, and what it is.

    Attributes
    ----------
    kind : str
        `title`, `phrase`, `year`, `decade`, `number`, `plain` or `unknown`.
    text : str
    value : int or str
        Of a title its place in the text; of a phrase itself; of others the number.
    """

    kind: str
    text: str
    value: int | str = 0


def _token(tokens: Sequence[str], place: int) -> Token:
    """A word that is no phrase."""
    text = tokens[place]
    lower = text.lower()
    if text.startswith(_MARK) and len(text) > 1:
        return Token("title", text, int(text.strip(_MARK)))
    if re.fullmatch(r"(?:19|20)\d0s", text):
        return Token("decade", text, int(text[:4]))
    if re.fullmatch(r"[2-9]0s", text):
        return Token("decade", text, 1900 + int(text[:2]))
    if lower in DECADES:
        return Token("decade", text, DECADES[lower])
    if re.fullmatch(r"(?:19|20)\d\d", text):
        return Token("year", text, int(text))
    if re.fullmatch(r"\d+|\d{1,3}(,\d{3})+", text):
        return Token("number", text, int(text.replace(",", "")))
    if lower in NUMBERS:
        return Token("number", text, NUMBERS[lower])
    if text in _QUOTES:
        around = tokens[max(place - 2, 0) : place + 3]
        held = len(around) > 2 and any(each.startswith(_MARK) for each in around)
        beside = {*tokens[max(place - 1, 0) : place], *tokens[place + 1 : place + 2]}
        at_title = held and any(each.startswith(_MARK) for each in beside)
        return Token("plain" if at_title else "unknown", text)
    if text in _POINTS:
        return Token("plain", text)
    inside = place > 0 and text[:1].isupper() and text != "I"
    good = lower in PLAIN and not inside and text in (lower, text.capitalize())
    return Token("plain" if good else "unknown", text)


def _badly_made(sentence: str, said_of: Sequence[str]) -> str:
    """What no person would write: a kind or year twice, or a sentence that does not end."""
    if twice := next((each for each in said_of if said_of.count(each) > 1), None):
        return f"{twice!r} is said twice"
    return "" if sentence[-1] in ".!?;" else "does not end"


def _is_of(token: Token, item: Known) -> bool:
    mine = {"phrase": item.phrases, "year": {item.year}, "decade": {item.decade}}
    return token.value in mine[token.kind]


def _count(token: Token, items: Sequence[Known]) -> int:
    return sum(_is_of(token, item) for item in items)


def _plainly(text: str) -> str:
    """Compatibility forms and typographic dashes as what they look like; nothing that is unseen."""
    text = "".join(_DASHES.get(each, each) for each in unicodedata.normalize("NFKC", text))
    return "".join(each for each in text if each == "\n" or unicodedata.category(each)[0] != "C")


def _first(text: str) -> str:
    found = re.match(r"\W*\w+", text)
    return found[0] if found else text[:1]


def _begins(text: str, place: int) -> bool:
    return not text[place].isspace() and (place == 0 or not text[place - 1].isalnum())


def _opens(parts: Sequence[str]) -> bool:
    """Whether a sentence begins after these."""
    before = "".join(parts[-3:]).rstrip(" ")
    return not before or before[-1] in ".!?;\n"


def _stands(name: str, text: str, place: int) -> bool:
    end = place + len(name)
    follows = text[end : end + 2]
    whole = not follows[:1].isalnum() and not re.match(r"['-][^\W\d_]", follows)
    return text.startswith(name, place) and (whole or text[end : end + 2] == "'s")
