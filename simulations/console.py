"""The console of every command: what is printed is text, whatever is in it.

Names, paths, item texts and claims are whoever's who wrote them. None is read as markup or as an
emoji's code, and none reaches a terminal that could move its cursor or forge a line.
"""

from __future__ import annotations

from typing import Any

import rich.console
from rich.text import Text

from shared.printable import printable


class Console(rich.console.Console):
    """Prints strings, and those in tables, letter by letter; what is styled comes as `Text`.

    Parameters
    ----------
    **how
        As for `rich.console.Console`.
    """

    def __init__(self, **how: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **how)

    def render_str(self, text: str, **how: Any) -> Text:
        """Printable letters as a `Text`."""
        return super().render_str(printable(text), **how)
