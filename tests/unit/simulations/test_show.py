"""A table is drawn where it fits, and is one line for each row elsewhere; no figure is cut."""

import io

import pytest
from rich.text import Text

from simulations.console import Console
from simulations.show import figures, show_table

ROW = ("eps8_seed0", "user, central", "0.0001", "7.99991")


def shown(columns, rows, width, terminal, title="", **how):
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, color_system=None)
    show_table(columns, rows, title, console, **how)
    return out.getvalue()


COLUMNS = ("point", "unit, trust", *figures("delta", "epsilon"))


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("terminal", [True, False])
def test_no_figure_is_cut_and_nothing_is_wider_than_a_terminal(width, terminal):
    text = shown(COLUMNS, [ROW, None, ROW], width, terminal, "Spent")
    assert "…" not in text
    assert text.count("7.99991") == text.count("0.0001") == 2
    drawn = "\u2500" in text
    assert drawn == (terminal and width >= 80)
    assert not drawn or max(map(len, text.splitlines())) <= width


def test_the_widest_table_fits_80_columns():
    """Of `verify`: all figures in one row, words below each other."""
    columns = ("point", "unit, trust", *figures("delta", "claimed", "PLD", "RDP", "PRV"), "verdict")
    row = ("epsilon 8, seed 10", "example, distributed", "1e-05", "7.999", "7.999", "10.38", "8.01")
    text = shown(columns, [(*row, "see below")], 80, terminal=True, title="Privacy spent")
    assert "\u2500" in text
    assert max(map(len, text.splitlines())) <= 80
    assert any(
        {"1e-05", "7.999", "10.38", "8.01"} <= set(line.split()) for line in text.splitlines()
    )


def test_off_a_terminal_every_row_is_one_line():
    pair = shown(("of", "value"), [("users", "943")], 20, terminal=False, pairs=True)
    assert pair == "users: 943\n"
    line = "point eps8_seed0; unit, trust user, central; delta 0.0001; epsilon 7.99991"
    assert shown(COLUMNS, [ROW], 20, terminal=False, title="Spent").splitlines() == ["Spent", line]


@pytest.mark.parametrize("columns", range(1, len(COLUMNS) + 1))
@pytest.mark.parametrize("terminal", [True, False])
def test_every_heading_is_shown_however_many_there_are(columns, terminal):
    """Where a table has two columns, the second says what its figure is no less than of five."""
    text = shown(COLUMNS[:columns], [ROW[:columns]], 20, terminal)
    for name in ("point", "unit, trust", "delta", "epsilon")[:columns]:
        assert name.split()[0] in text


@pytest.mark.parametrize("terminal", [True, False])
def test_cells_are_neither_markup_nor_new_lines(terminal):
    cells = ("[red]a[/red] [/b] :smile:\u00a0users: 1", Text("[bold]x\x1b", style="red"))
    text = shown(("of", "value"), [cells], 80, terminal, title="[i]t[/i]")
    assert "[red]a[/red] [/b] :smile: users: 1" in text
    assert "[bold]x\\x1b" in text
    assert "[i]t[/i]" in text


def test_long_text_is_wrapped_before_a_table_is_given_up():
    text = shown(("what", *figures("n")), [("word " * 40, "12345678")], 60, terminal=True)
    assert "\u2500" in text
    assert "12345678" in text
