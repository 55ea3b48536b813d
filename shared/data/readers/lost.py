"""What a text shows of what was lost on its way: that there was none, or other letters."""

from __future__ import annotations

import re

from shared.data.identifiers import appearance

# What programs write where nothing is known, in any case: pandas, R, spreadsheets, databases.
_NOTHING = (
    *("nan", "-nan", "+nan", "nat", "none", "null", "na", "n/a", "#n/a", "#n/a n/a", "#na", "<na>"),
    *("<null>", "<none>", "(null)", "\\n", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"),
    *("#null!", "#num!", "#value!", "#ref!", "#name?", "#div/0!"),
)
# What may be a title, yet names nobody; the last are what a missing number becomes in integers.
_NOBODY = (
    *("inf", "-inf", "+inf", "infinity", "-infinity", "+infinity", "1.#inf", "-1.#inf"),
    *("nil", "<nil>", "undefined", "-2147483648", "-9223372036854775808"),
)
_LONGEST = 40  # characters of what may stand for nothing

# UTF-8 whose bytes are taken for letters, in the bytes of windows-1252: a Latin letter, two or
# more of another alphabet, and what takes three bytes or four. Ends of quotations, dashes and the
# like may follow a letter in any text, and tell something only within a word.
_END = "\x85\x91-\x94\x96\x97\x99\x9b\xbb"
_SURE = re.compile(
    f"[\xc2-\xc5](?:(?![{_END}])[\x80-\xbf]|[{_END}](?=[A-Za-z]))"
    "|(?:[\xce-\xdb][\x80-\xbf]){2,}"
    f"|[\xe0-\xef](?![{_END}]{{2}})[\x80-\xbf]{{2}}|[\xf0-\xf4][\x80-\xbf]{{3}}"
)
_PAIR = re.compile("[\xc2-\xc5\xce-\xd1][\x80-\xbf]")
_SEQUENCE = re.compile("[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


def stands_for_nothing(text: str, identifier: bool = False) -> bool:
    """Whether a program wrote it where nothing was known, as `nan`, `None` or `#N/A`.

    Parameters
    ----------
    text : str
    identifier : bool
        Whether it is to name somebody: `inf` may be a title and is nobody's name.

    Examples
    --------
    >>> stands_for_nothing(" NaN"), stands_for_nothing("Nancy"), stands_for_nothing("inf", True)
    (True, False, True)
    """
    if len(text) > _LONGEST:
        return False
    plain = text.isascii() and text.isprintable()
    seen = (text.strip() if plain else appearance(text)).casefold()
    return seen in _NOTHING or (identifier and seen in _NOBODY)


def misread(text: str) -> str | None:
    """How a text was read in another encoding than its own; None where nothing shows it.

    Returns
    -------
    str or None
        To be read after the text.

    Examples
    --------
    >>> misread("Les MisÃ©rables")
    "is UTF-8 that was read as latin-1 (meant: 'Les Misérables')"
    >>> misread("Les Misérables") is None
    True
    """
    if text.isascii():
        return None
    if "\ufffd" in text:
        return "holds U+FFFD, in whose place a letter was lost"
    narrow = "".join(map(_byte, text))
    if _SURE.search(narrow) or (_PAIR.search(narrow) and _meant(narrow) is not None):
        meant, end = "", 0
        for match in _SEQUENCE.finditer(narrow):
            meant += text[end : match.start()] + (_meant(match[0]) or "\ufffd")
            end = match.end()
        return f"is UTF-8 that was read as latin-1 (meant: {(meant + text[end:])[:60]!r})"
    if any("\x80" <= letter <= "\x9f" and letter != "\x85" for letter in text):  # ends a line
        return "is windows-1252 that was read as latin-1"
    return None


def _byte(letter: str) -> str:
    """The byte that is read as this letter, as a character; NUL where there is none."""
    try:
        return letter.encode("cp1252").decode("latin-1")
    except UnicodeEncodeError:
        return letter if letter <= "\xff" else "\0"


def _meant(narrow: str) -> str | None:
    """What bytes say in UTF-8, given as characters; None where they are none."""
    try:
        return narrow.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return None
