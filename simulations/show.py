"""A table, shown in one way: drawn on a terminal that is wide enough, else one line for each row.

No figure is ever cut, and no cell is read as markup: names come from whoever wrote a log or folder.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.table import Column, Table
from rich.text import Text

from shared.printable import printable
from simulations.console import Console

_LEAST_TEXT = 10  # cells below which a column of text is no longer narrowed


def figures(*names: str) -> tuple[str | Column, ...]:
    """Columns of figures: to the right, and never broken."""
    return tuple(Column(name, justify="right", no_wrap=True) for name in names)


def show_table(
    columns: Sequence[str | Column],
    rows: Sequence[Sequence[str | Text] | None],
    title: str = "",
    console: Console | None = None,
    *,
    pairs: bool = False,
) -> None:
    """Print a table on standard output.

    Into a pipe or a file, and on a terminal too narrow for it, every row is a line of its own that
    is never wrapped: `name value; name value`.

    Parameters
    ----------
    columns : sequence of str or Column
        A name is a column of text; `figures` makes those of numbers.
    rows : sequence
        The cells of each, plain text or styled; None draws a line between two groups.
    title : str
        Stands above; empty for none.
    console : Console, optional
        Standard output by default.
    pairs : bool
        Of two columns whose names say nothing that their cells do not: a line is `first: second`.
    """
    console = console or Console()
    heads = [Column(each) if isinstance(each, str) else each for each in columns]
    cells = [None if row is None else [_plain(cell) for cell in row] for row in rows]
    whole = [row for row in cells if row is not None]
    if console.is_terminal and _width(heads, whole) <= console.width:
        console.print(_drawn(heads, cells, title))
        return
    names = [str(head.header) for head in heads]
    told = [f"{row[0]}: {row[1]}" if pairs else _line(names, row) for row in whole]
    for line in [title] * bool(title) + told:
        show_line(line, console)


def show_line(text: str, console: Console | None = None) -> None:
    """Print one line as it stands: never wrapped into several, nor read as markup."""
    (console or Console()).print(text, soft_wrap=True)


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say on a terminal what takes its time, until it is done; nothing elsewhere.

    Parameters
    ----------
    what : str
        Such as `asking the accountants`.
    """
    there = sys.stderr is not None and sys.stderr.isatty()
    if there:
        sys.stderr.write(f"{printable(what)[:60]} ...")
        sys.stderr.flush()
    try:
        yield
    finally:
        if there:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _plain(cell: str | Text) -> Text:
    if isinstance(cell, str):
        return Text(printable(cell))
    return Text(printable(cell.plain), style=cell.style)


def _line(names: list[str], row: list[Text]) -> str:
    cells = zip(names, row, strict=True)
    return "; ".join(f"{name} {cell}".strip() for name, cell in cells if cell.plain)


def _drawn(heads: list[Column], cells: list[list[Text] | None], title: str) -> Table:
    table = Table(*heads, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.padding = (0, 1, 0, 0)
    table.title = Text(title) if title else None
    for head in table.columns:
        head.overflow = "fold"
    for row in cells:
        if row is None:
            table.add_section()
        else:
            table.add_row(*row)
    return table


def _width(heads: list[Column], rows: list[list[Text]]) -> int:
    """Cells that a table needs where its text is wrapped and its figures are not."""
    needed = 0
    for number, head in enumerate(heads):
        column = [str(head.header), *(row[number].plain for row in rows)]
        widest = max(cell_len(text) for text in column)
        words = max(cell_len(word) for text in column for word in [*text.split(), ""])
        needed += widest if head.no_wrap else min(widest, max(words, _LEAST_TEXT))
    return needed + 2 * len(heads)
