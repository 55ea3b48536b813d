"""Titles as public texts hold them, and how people write them."""

from __future__ import annotations

import re

_DATED = re.compile(r"(.*?\((?:19|20)\d\d\))(?:\.\s+|\.?$)")
_STOP = re.compile(r"\.\s+")
# What ends in a full stop inside a title; a single letter does too, as in "Edward D. Wood".
_SHORT = {"mr", "mrs", "ms", "dr", "st", "sgt", "lt", "col", "capt", "jr", "sr", "vs", "vol", "no"}
_YEAR = re.compile(r"\s*\((?:19|20)\d\d\)$")
_ASIDE = re.compile(r"\s*\([^()]*\)$")
_ARTICLE = re.compile(r"^(.+), (The|A|An|Il|La|Le|Les|L'|El|Los|Las|Der|Die|Das)$")


def titled(text: str) -> tuple[str, str]:
    """A public text's title, and the rest.

    The title ends with a year in parentheses, else at the first full stop that does not belong to
    an abbreviation.

    Examples
    --------
    >>> titled("Toy Story (1995). Animation, Comedy")
    ('Toy Story (1995)', 'Animation, Comedy')
    >>> titled("Mr. Holland's Opus (1995). Drama")
    ("Mr. Holland's Opus (1995)", 'Drama')
    >>> titled("The Silent Case 2. Crime, History")
    ('The Silent Case 2', 'Crime, History')
    """
    if dated := _DATED.match(text):
        return dated[1], text[dated.end() :]
    for stop in _STOP.finditer(text):
        before = text[: stop.start()].rpartition(" ")[2].lower()
        if before not in _SHORT and not (len(before) == 1 and before.isalpha()):
            return text[: stop.start()].rstrip("."), text[stop.end() :]
    return text.rstrip("."), ""


def writings(title: str) -> tuple[str, ...]:
    """How a title may be written, longest first: with and without its year, its article in front.

    Examples
    --------
    >>> writings("Godfather, The (1972)")
    ('Godfather, The (1972)', 'The Godfather (1972)', 'Godfather, The', 'The Godfather')
    """
    year = _YEAR.search(title)
    dated = year[0] if year else ""
    bare = title[: year.start()] if year else title
    names = {bare, _ASIDE.sub("", bare) or bare}
    for name in tuple(names):
        if moved := _ARTICLE.match(name):
            article = moved[2] if moved[2].endswith("'") else f"{moved[2]} "
            names.add(article + moved[1])
    found = {name + dated for name in names} | names
    return tuple(sorted(found, key=lambda name: (-len(name), name)))


def readable(title: str) -> str:
    """A title as it is said: its article in front.

    Examples
    --------
    >>> readable("Godfather, The (1972)")
    'The Godfather (1972)'
    """
    year = _YEAR.search(title)
    dated = year[0] if year else ""
    moved = _ARTICLE.match(title[: year.start()] if year else title)
    if moved is None:
        return title
    article = moved[2] if moved[2].endswith("'") else f"{moved[2]} "
    return article + moved[1] + dated
