"""Whom a device's process answers, and where it may listen."""

import os
import signal
import socket
import time
from types import SimpleNamespace

import pytest

import client.device.process
from client.device.folder import DeviceFolder, Owned
from client.device.limits import Limits
from client.device.peers import Peers
from client.device.process import SERVING, Process
from client.device.resident import Resident
from client.link import FAILURE, Frame, receive
from shared.data.catalogue import Catalogue
from shared.errors import ProtocolError
from tests.support.command import command
from tests.support.privacy.policies import operator


@pytest.mark.parametrize("named", [True, False])
def test_only_users_whom_the_owner_named_are_answered(named, tmp_path, monkeypatch, caplog):
    user = os.getuid() if named else os.getuid() + 1
    process = Process(DeviceFolder(tmp_path), [user])
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as relay:
        listener.bind("s")
        listener.listen()
        relay.connect("s")
        relay.sendall(Frame(1, {}).pack())
        with Peers(listener, [user]) as peers:
            if named:
                process._serve_one(peers)
                assert receive(relay).kind == FAILURE
                return
            peers._take()
        with pytest.raises((ProtocolError, OSError)):
            receive(relay)
    assert f"user {os.getuid()} asked: not one whom the owner named" in caplog.text


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A process that answers one connection at a time, when asked to."""
    monkeypatch.chdir(tmp_path)
    process = Process(DeviceFolder(tmp_path / "state"), [os.getuid()])
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        listener.listen()
        with Peers(listener, [os.getuid()]) as peers:
            yield SimpleNamespace(process=process, one=lambda: process._serve_one(peers))


def connected(sent):
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(10)
    link.connect("s")
    link.sendall(sent)
    return link


def test_one_that_says_it_slowly_or_does_not_listen_costs_little(served, monkeypatch):
    """Were the time not bounded, this would not end."""
    monkeypatch.setattr(client.device.process, "_SECONDS", 0.1)
    begun = Frame(1, {}).pack()[:-1]
    monkeypatch.setattr(served.process, "reply", lambda _: bytes(1 << 24))
    with connected(begun) as slow, connected(Frame(1, {}).pack()) as deaf:
        served.one()
        assert receive(slow).kind == FAILURE
        served.one()
        with connected(Frame(1, {}).pack()) as next_one:
            monkeypatch.setattr(served.process, "reply", lambda _: b"an answer")
            served.one()
            assert next_one.recv(9) == b"an answer"
        assert deaf.recv(1) == bytes(1)


def test_nothing_is_answered_to_one_that_is_gone(served, monkeypatch, caplog):
    monkeypatch.setattr(served.process, "reply", lambda _: pytest.fail("answered"))
    connected(Frame(1, {}).pack()).close()
    served.one()
    assert "whoever asked is gone" in caplog.text


def test_an_answer_that_takes_longer_than_allowed_is_none(served, tmp_path, monkeypatch, caplog):
    owned = Owned("u", operator(), limits=Limits(seconds=1))
    DeviceFolder.begin(tmp_path / "state", owned, Catalogue(("a", "b"), ("A", "B")))
    monkeypatch.setattr(client.device.process, "request_of", lambda _: (None, 2))
    timer = signal.setitimer
    monkeypatch.setattr(signal, "setitimer", lambda which, after: timer(which, after / 100))
    monkeypatch.setattr(Resident, "answer", lambda *_: time.sleep(60))
    with connected(Frame(1, {}).pack()) as relay:
        served.one()
        assert receive(relay).kind == FAILURE
    assert "longer than its owner allows" in caplog.text


def test_another_users_relay_needs_a_socket_that_it_can_reach(tmp_path):
    state = tmp_path / "state"
    DeviceFolder.begin(state, Owned("u", operator()), Catalogue(("a", "b"), ("A", "B")))
    told = command("client", "serve", "--state", state, "--uid", os.getuid() + 1)
    assert told.code == 2, told.err
    assert "--uid: another user reaches no socket in the state folder" in told.err
    assert (state / SERVING).stat().st_mode & 0o777 == 0o700
    nobody = command("client", "serve", "--state", tmp_path)
    assert (nobody.code, "no device is here" in nobody.err) == (2, True)
