"""Progress on a terminal, off a terminal, and quiet."""

import io

from simulations.console import Console
from simulations.sweep.progress import SweepProgress


class Clock:
    """A clock that the test moves."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def run(terminal=False, quiet=False):
    clock, sink = Clock(), io.StringIO()
    console = Console(file=sink, force_terminal=terminal, width=200)
    with SweepProgress(100, quiet=quiet, console=console, clock=clock) as progress:
        progress.point("epsilon 8, seed 0")
        for _ in range(50):
            clock.now += 1.0
            progress.advance(note="HR@10 .41")
        progress.message("a [bold] remark")
    return sink.getvalue(), progress


def test_off_a_terminal_lines_are_plain_occasional_and_state_rate_and_time_left():
    text, progress = run()
    lines = text.splitlines()
    assert progress.done == 50
    assert "\x1b" not in text
    assert lines[0] == "100 client updates to go"
    assert lines[1] == "epsilon 8, seed 0: 0/100 updates"
    # 50 seconds of rounds, one line per 10 seconds
    assert lines[2] == "epsilon 8, seed 0: 10/100 updates, 1 updates/s, 0:01:30 left, HR@10 .41"
    assert sum("left" in line for line in lines) == 5
    assert lines[-2] == "a [bold] remark"
    assert lines[-1] == "finished after 50/100 updates, 0:00:50"


def test_quiet_prints_messages_alone():
    assert run(quiet=True)[0] == "a [bold] remark\n"
    assert run(terminal=True, quiet=True)[0] == "a [bold] remark\n"


def test_on_a_terminal_a_bar_is_drawn_and_messages_stay():
    text, _ = run(terminal=True)
    assert "\x1b" in text
    assert "epsilon 8, seed 0" in text
    assert "50/100" in text
    assert "a [bold] remark" in text


def test_an_interrupted_run_says_so():
    sink = io.StringIO()
    try:
        with SweepProgress(10, console=Console(file=sink, width=200)) as progress:
            progress.advance(3)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert sink.getvalue().splitlines()[-1].startswith("stopped after 3/10 updates")


def test_slow_work_is_told_in_seconds_per_round_and_no_work_divides_by_nothing():
    clock, sink = Clock(), io.StringIO()
    with SweepProgress(2, console=Console(file=sink, width=200), clock=clock) as progress:
        clock.now += 30.0
        progress.advance()
    assert "30.0 s/update, 0:00:30 left" in sink.getvalue()
    sink = io.StringIO()
    with SweepProgress(0, console=Console(file=sink, width=200), clock=clock) as progress:
        progress.point("")
    assert "finished after 0/0 updates, 0:00:00" in sink.getvalue()


def test_more_updates_than_were_expected_are_never_beyond_all_of_them():
    """Who is drawn is chance: a round may hold more people than it expects."""
    for terminal in (False, True):
        sink = io.StringIO()
        console = Console(file=sink, force_terminal=terminal, width=200)
        with SweepProgress(10, console=console) as progress:
            for _ in range(3):
                progress.advance(4)
        assert (progress.done, progress.total) == (12, 12)
        assert "12/12" in sink.getvalue()
