"""Signals that ask a program to end: one line and a status of their own, wherever they come in."""

import signal
from collections.abc import Iterator

import pytest

import starling

STOPS = {
    signal.SIGINT: (130, "interrupted"),
    signal.SIGTERM: (143, "terminated"),
    signal.SIGHUP: (129, "hung up"),
    signal.SIGQUIT: (131, "quit"),
    signal.SIGXCPU: (152, "out of processor time"),
    signal.SIGUSR1: (138, "stopped (SIGUSR1)"),
    signal.SIGUSR2: (140, "stopped (SIGUSR2)"),
}
every = pytest.mark.parametrize("number", STOPS, ids=lambda number: number.name)


@pytest.fixture(autouse=True)
def _as_a_process_begins() -> Iterator[None]:
    before = {each: signal.getsignal(each) for each in STOPS}
    for each in STOPS:  # a background job ignores some
        signal.signal(each, signal.SIG_DFL)
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@every
def test_a_signal_swallowed_by_an_import_still_ends_the_command(
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """C extensions turn an interruption of their import into an ImportError."""
    heard: list[BaseException] = []

    def dispatch(arguments: list[str]) -> int:
        assert signal.getsignal(number) is not signal.SIG_DFL  # it would end the tests
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise ImportError("cannot load a module") from None
        raise AssertionError("the signal was not raised")

    monkeypatch.setattr(starling, "_dispatch", dispatch)
    starling._listen(heard)
    status, word = STOPS[number]
    assert starling._run([], heard) == status
    assert capsys.readouterr().err == f"{word}\n"


@every
def test_who_started_it_may_have_it_ignore_one(number: signal.Signals) -> None:
    """As nohup does, and a shell for what runs in the background."""
    signal.signal(number, signal.SIG_IGN)
    heard: list[BaseException] = []
    starling._listen(heard)
    signal.raise_signal(number)
    assert heard == []


def test_a_hang_up_is_heard_once() -> None:
    """From the terminal, then from its shell: the second must not cut off the end."""
    heard: list[BaseException] = []
    starling._listen(heard)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGHUP)
    assert len(heard) == 1
