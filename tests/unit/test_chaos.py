"""What `make chaos` would find: an answer that left and is not on record, an interaction gone."""

import socket
import tempfile
import threading
import time
from contextlib import suppress
from importlib import import_module

import numpy as np
import pytest
from dp_accounting import GaussianDpEvent

from client.link import Frame, answer_frame, receive, request_frame, send
from client.store import Interaction, Store
from shared.config import from_dict
from shared.errors import ProtocolError
from shared.privacy.ledger.ledger import Ledger, LedgerHeader
from shared.update import Update
from tests.support import ROOT
from tests.support.asking import asked
from tests.support.privacy.guarantees import USUAL

CONFIG = from_dict({})
UPDATE = answer_frame(Update(np.ones(3, np.float32), 1.0, 1.0, "s"))
LETTER = Frame(4, {}, b"a stage's")


@pytest.fixture
def chaos(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return import_module("chaos")


@pytest.fixture
def device():
    """A socket whose device answers each request with the next of some frames."""
    with tempfile.TemporaryDirectory(prefix="star") as folder:
        path, answers = f"{folder}/s", []
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()

        def serve():
            while True:
                try:
                    link, _ = listener.accept()
                except OSError:
                    return
                with link, suppress(ProtocolError):
                    receive(link)
                    send(link, answers.pop(0))

        thread = threading.Thread(target=serve)
        thread.start()
        yield path, answers
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def ask(path, number):
    """As a relay; what it heard, to the end."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(path)
        send(link, request_frame(asked(CONFIG, number=number), 2).pack())
        heard = b""
        while part := link.recv(1 << 16):
            heard += part
        return heard


@pytest.mark.parametrize("half", [False, True])
def test_an_update_that_left_costs_something_also_if_half_of_it_did(half, chaos, device):
    path, answers = device
    packed = UPDATE.pack()
    answers += [LETTER.pack(), packed[: len(packed) // 2] if half else packed]
    tap, before = chaos.before(path)
    heard = [ask(before, 4), ask(before, 5)]
    assert heard == [LETTER.pack(), packed[: len(heard[1])]]
    assert chaos.left(tap) == [("update", 5)]
    tap.close()


def test_what_is_cut_is_not_answered(chaos, device):
    tap, before = chaos.before(device[0])
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(before)
        while not tap.connections:
            time.sleep(0.01)
        tap.connections[0].cut = True
        link.sendall(b"STAR" * 10)
        assert not link.recv(1)
    tap.close()


@pytest.mark.parametrize(
    ("recorded", "acknowledged", "wrong"),
    [
        ([3, 4], {1, 2}, []),
        ([3, 3, 4, 9], {1}, []),
        ([4], {1, 2}, ["an answer is not on record", "records cost less than answers"]),
        ([3, 4], {1, 7}, ["an interaction was lost"]),
    ],
)
def test_what_does_not_hold_is_told(recorded, acknowledged, wrong, chaos, tmp_path, monkeypatch):
    state = tmp_path / "devices" / "1"
    state.mkdir(parents=True)
    Store(state).add([Interaction("i1", 1), Interaction("i2", 2)])
    ledger = Ledger.create(state / "participation.jsonl", LedgerHeader(USUAL, "0" * 64))
    for number in recorded:
        ledger.append(number, "update", GaussianDpEvent(20.0))
    monkeypatch.setattr(chaos, "left", lambda tap: [("update", 3), ("update", 4)])
    made = chaos.Chaos(tmp_path / "new", chaos.Settings(4, 8, 4.0), print)
    made.out = tmp_path
    made.taps = {1: type("Closed", (), {"close": lambda self: None})()}
    made._acknowledged, made._tried = {1: acknowledged}, {1: {1, 2, 7}}
    made._found(1)
    assert [each.rpartition(": ")[2] for each in made.wrong] == wrong
