"""Sessions and packed elements have one form, and only values in range."""

from dataclasses import replace

import numpy as np
import pytest

from shared.errors import ConfigError, MalformedMessage
from shared.secagg.participant import Participant
from shared.secagg.ring import Ring
from shared.secagg.session import Session
from tests.support.privacy.cohorts import identity, session


@pytest.mark.parametrize(
    "about", [session(), session(context=b"", colluding=0.0), session(bits=62, dim=2**32 - 1)]
)
def test_a_session_is_read_as_it_was_written(about):
    assert Session.read(about.to_bytes()) == about
    assert Session.read(about.to_bytes()).digest == about.digest


def test_every_part_of_a_session_is_in_its_digest():
    about = session()
    others = [
        replace(about, **{name: value})
        for name, value in (
            ("context", b"round 2"),
            ("nonce", bytes(15) + b"\1"),
            ("bits", 21),
            ("dim", 6),
            ("fewest", 4),
            ("colluding", 0.2),
        )
    ]
    assert len({each.digest for each in [about, *others]}) == 7


@pytest.mark.parametrize(
    "changed",
    [
        {"bits": 1},
        {"bits": 63},
        {"dim": 0},
        {"dim": 2**32},
        {"fewest": 1},
        {"colluding": 0.5},
        {"colluding": -0.1},
        {"colluding": float("nan")},
        {"nonce": bytes(15)},
        {"context": bytes(1025)},
    ],
)
def test_values_out_of_range_are_refused(changed):
    with pytest.raises(ConfigError, match="expected"):
        session(**changed)


@pytest.mark.parametrize(
    ("place", "put"),
    [
        (0, b"S"),
        (15, b"\1"),
        (16, bytes(4)),
        (20, bytes(4)),
        (24, b"\x7f\xf8" + bytes(6)),
        (24, b"\x80" + bytes(7)),
    ],
)
def test_bytes_that_are_no_session_are_refused(place, put):
    data = session(colluding=0.0).to_bytes()
    with pytest.raises(MalformedMessage):
        Session.read(data[:place] + put + data[place + len(put) :])


def test_packed_elements_have_one_form():
    ring = Ring(12)
    data = ring.pack(np.array([4095, 1, 4095], np.uint32))
    assert data.hex() == "ff1f00ff0f"
    for false in (data[:-1], data + b"\0", data[:-1] + b"\x1f", "text", bytearray(data)):
        with pytest.raises(MalformedMessage, match="packed elements"):
            ring.unpack(false, 3)


def test_a_node_is_a_number_of_64_bits():
    for node in (-1, 2**64):
        with pytest.raises(MalformedMessage, match="expected 0 to"):
            Participant(session(), node, identity(1), lambda node, shown: True)
