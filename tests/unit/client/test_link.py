"""Frames between a relay and a device's process: read back as they were, or refused in words."""

import os
import socket
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import client.link
from client.link import (
    FAILED,
    LETTER,
    MOST_BYTES,
    RANKS,
    REQUEST,
    UPDATE,
    Frame,
    LinkedDevice,
    answer_frame,
    answer_of,
    body_of,
    declined_frame,
    head_of,
    receive,
    request_frame,
    request_of,
    user_of,
)
from shared.config import from_dict
from shared.errors import ConfigError, Declined, ProtocolError, StarlingError
from shared.request import Letter, Ranks, Request
from shared.update import Update
from tests.support.asking import asked

HEAD = 14
CONFIG = from_dict({})
ADAPTER = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.zeros((0, 4), np.float32)}


def frame_of(data):
    """As `receive` reads it, without a socket."""
    kind, length = head_of(data[:HEAD])
    if len(data) != HEAD + length:
        raise ProtocolError("of another length")
    return body_of(kind, data[HEAD:])


REQUESTS = {
    "update": asked(CONFIG, arrays=ADAPTER, schema="s", policy='{"π": 1}', clip=0.25, merge=True),
    "histogram": asked(CONFIG, "histogram", 0),
    "ranks": asked(CONFIG, "ranks", phase="test", sealed=b"\x00\xff"),
    "stage": asked(CONFIG, stage="seeds", sealed=b"sealed", content="ab" * 32),
    "index": asked(CONFIG, "moments", 0, arrays={"first": np.arange(3, dtype=np.int32)}),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_read_back_whole(name):
    request = REQUESTS[name]
    found, node = request_of(frame_of(request_frame(request, 2**64 - 1).pack()))
    assert node == 2**64 - 1
    assert found.fields() == request.fields()
    assert (found.message, found.digest, found.about) == (
        request.message,
        request.digest,
        request.about,
    )


@pytest.mark.parametrize(
    "answer",
    [
        Update(np.arange(3, dtype=np.float32), 1.0, 0.5, "s", bits=-0.5),
        Update(np.arange(3, dtype=np.uint32), 1.0, 0.0, "s", ring=20),
        Update(np.arange(3, dtype=np.uint64), 1.0, 0.0, "s", ring=60),
        Update(np.zeros(0, np.float32), 1.0, 0.0, ""),
        Ranks([3], [4]),
        Ranks([], []),
        Letter(b"\x00\x01"),
    ],
)
def test_an_answer_is_read_back_whole(answer):
    found = answer_of(frame_of(answer_frame(answer).pack()))
    if isinstance(answer, Update):
        assert found.vector.dtype == answer.vector.dtype
        assert found.vector.tolist() == answer.vector.tolist()
        assert found == Update(found.vector, *list(vars(answer).values())[1:])
    else:
        assert found == answer


def test_a_decline_and_a_failure_say_a_word():
    with pytest.raises(Declined) as caught:
        answer_of(frame_of(declined_frame("policy").pack()))
    assert caught.value.word == "policy"
    for frame in (
        FAILED,
        declined_frame("u0 likes f"),
        Frame(LETTER, {"said": 1}),
        Frame(RANKS, {}),
    ):
        with pytest.raises(ProtocolError) as caught:
            answer_of(frame_of(frame.pack()))
        assert not isinstance(caught.value, Declined)
        assert "likes" not in str(caught.value)


FIELDS = dict(request_frame(REQUESTS["update"], 2).fields)


@pytest.mark.parametrize(
    "changed",
    [
        {"more": 1},
        {"node": 2},
        {"node": "-1"},
        {"node": str(2**64)},
        {"node": "²"},
        {"message": "train.update"},
        {"message": "query.keys"},
        {"release": "update", "content": ""},
        {"round": "1"},
        {"round": True},
        {"clip": "inf"},
        {"merge": 1},
        {"policy": None},
        {"settings": "{"},
        {"settings": "[]"},
        {"settings": '{"rounds": 1}'},
        {"round": None},
    ],
)
def test_a_request_has_its_fields_and_no_others(changed):
    with pytest.raises(StarlingError):
        request_of(frame_of(Frame(REQUEST, FIELDS | changed).pack()))
    for name in FIELDS:
        less = {n: value for n, value in FIELDS.items() if n != name}
        with pytest.raises(StarlingError):
            request_of(frame_of(Frame(REQUEST, less).pack()))


def test_arrays_of_other_kinds_are_refused():
    for array in (np.zeros(2), np.zeros(2, np.float16), np.zeros(2, bool), np.zeros(2, np.uint64)):
        with pytest.raises(ProtocolError, match="of float32 or int32"):
            frame_of(Frame(REQUEST, FIELDS, arrays={"a": array}).pack())
    with pytest.raises(ProtocolError, match="of none"):
        frame_of(Frame(LETTER, {}, arrays={"a": np.zeros(2, np.float32)}).pack())


def test_what_is_too_long_is_neither_sent_nor_read(monkeypatch):
    head = Frame(REQUEST, {}).pack()[:HEAD]
    for length in (MOST_BYTES + 1, 2**63, 0, 7):
        with pytest.raises(ProtocolError, match="expected at most"):
            head_of(head[:6] + length.to_bytes(8, "big"))
    monkeypatch.setattr(client.link, "MOST_BYTES", 100)
    with pytest.raises(ProtocolError, match="expected at most 100"):
        Frame(LETTER, {}, b"x" * 101).pack()
    with pytest.raises(ProtocolError, match="cannot be sent"):
        Frame(UPDATE, {"norm": float("nan")}).pack()


PACKED = [request_frame(request, 2).pack() for request in REQUESTS.values()]
PACKED += [answer_frame(Letter(b"l")).pack(), answer_frame(Ranks([1], [2])).pack()]
PACKED += [answer_frame(Update(np.arange(3, dtype=np.float32), 1.0, 0.5, "s")).pack()]


def understood(data):
    """Whatever these bytes are, they are understood or refused in our own words."""
    try:
        frame = frame_of(data)
    except StarlingError:
        return
    for read in (request_of, answer_of):
        try:
            read(frame)
        except StarlingError:
            continue
    # What was understood is written in one way.
    assert Frame(frame.kind, frame.fields, frame.content).pack()[:6] == data[:6]


@given(st.binary(max_size=200))
def test_anything_is_refused_in_words(data):
    understood(data)
    understood(PACKED[0][:6] + len(data).to_bytes(8, "big") + data)


@given(st.sampled_from(PACKED), st.data())
def test_a_frame_with_something_else_in_it_is_refused_or_read(packed, draw):
    at = draw.draw(st.integers(0, len(packed) - 1))
    drop = draw.draw(st.integers(0, 9))
    data = packed[:at] + draw.draw(st.binary(max_size=9)) + packed[at + drop :]
    understood(data)
    body = data[HEAD:]
    understood(packed[:6] + len(body).to_bytes(8, "big") + body)


def test_bytes_are_waited_for_so_long_and_no_longer():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(ProtocolError, match="takes too long"):
            receive(ours, seconds=0.01)
        theirs.sendall(PACKED[0][:20])  # half a frame, and silence
        with pytest.raises(ProtocolError, match="takes too long"):
            receive(ours, seconds=0.01, patience=60)
        theirs.sendall(PACKED[1][:HEAD])
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(ProtocolError):
            receive(ours)
        assert user_of(ours) == os.getuid()


def test_a_relay_asks_only_the_owner_of_the_folder(monkeypatch, tmp_path):
    place = tmp_path / "p"
    place.mkdir(mode=0o700)
    path = place / "s"
    monkeypatch.chdir(place)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        listener.listen()
        short = LinkedDevice(path, 2)
        if len(os.fsencode(path)) > 107:
            pytest.skip("the tests' folder has too long a name")
        monkeypatch.setattr(client.link, "user_of", lambda link: os.getuid() + 1)
        with pytest.raises(ConfigError, match="another user listens"):
            short.answer(REQUESTS["update"])
        listener.accept()[0].close()
        monkeypatch.undo()
        answering = threading.Thread(target=answered, args=(listener,))
        answering.start()
        with pytest.raises(Declined):
            short.answer(REQUESTS["update"])
        answering.join()
    for mode, words in ((0o777, "chmod it to 700"), (0o755, "chmod it to 700")):
        place.chmod(mode)
        with pytest.raises(ConfigError, match=words):
            short.answer(REQUESTS["update"])
    for given_path, words in (
        ("s", "give a full path"),
        (place / "none" / "s", "No such file"),
        (place / ("s" * 107), "at most 107 bytes"),
    ):
        with pytest.raises(ConfigError, match=words):
            LinkedDevice.of({"device": str(given_path)}, 2).answer(REQUESTS["update"])


def answered(listener):
    link, _ = listener.accept()
    with link:
        request, _ = request_of(receive(link))
        assert isinstance(request, Request)
        link.sendall(declined_frame("owner").pack())
