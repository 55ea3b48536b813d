"""A signal inside an import: whatever error it surfaces as, the command ends as stopped."""

import signal

import pytest

import starling


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["term", "int"]
)
def test_a_signal_swallowed_by_an_import_still_ends_the_command(
    number: signal.Signals,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """C extensions turn an interruption of their import into an ImportError."""
    heard: list[BaseException] = []

    def dispatch(arguments: list[str]) -> int:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise ImportError("cannot load a module") from None
        raise AssertionError("the signal was not raised")

    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.setattr(starling, "_dispatch", dispatch)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    try:
        starling._listen(heard)
        assert starling._run([], heard) == status
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert "cannot load" not in capsys.readouterr().err
