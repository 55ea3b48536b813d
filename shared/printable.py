"""Text that is not ours, shown: names, paths and item texts say what they are and do nothing.

Only the standard library is imported: `starling.py` reads this file where it stands, so that an
error can be told when nothing else can be imported.
"""

from __future__ import annotations

import shlex
import unicodedata


def printable(text: object) -> str:
    """The text with what a terminal would obey, or could not write, escaped: always one line.

    Parameters
    ----------
    text : object
        Its `str`. Half a surrogate pair is a byte of a file's name that is no UTF-8.

    Examples
    --------
    >>> printable("caf\\udce9, \\x1b[2J")
    'caf\\\\xe9, \\\\x1b[2J'
    """
    return "".join(map(_shown, str(text)))


def _shown(letter: str) -> str:
    if letter.isprintable():
        return letter
    if unicodedata.category(letter) == "Zs":  # a space that does not break, or of another width
        return " "
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # as Python reads such a byte
        code -= 0xDC00
        return f"\\x{code:02x}"
    return letter.encode("unicode_escape", "backslashreplace").decode("ascii")


def shell_word(path: object) -> str:
    """A path as one word of a command line that a shell reads back to the same bytes.

    Examples
    --------
    >>> shell_word("runs/my run"), shell_word("-x")
    ("'runs/my run'", './-x')
    """
    text = str(path)
    text = f"./{text}" if text.startswith("-") else text
    if text.isprintable():
        return shlex.quote(text)
    # Bash, zsh, ksh and POSIX of 2024. Bytes, as a name of any encoding has them.
    letters = (one if one.isprintable() and one not in "\\'" else _bytes_of(one) for one in text)
    return f"$'{''.join(letters)}'"


def _bytes_of(letter: str) -> str:
    errors = "surrogateescape" if "\udc80" <= letter <= "\udcff" else "surrogatepass"
    return "".join(f"\\x{byte:02x}" for byte in letter.encode("utf-8", errors))
