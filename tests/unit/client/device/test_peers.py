"""Connections that say nothing, say it slowly, or are gone, keep no other one waiting."""

import contextlib
import os
import socket

import pytest

from client.device import peers
from client.device.peers import MOST, Peers, gone


@pytest.fixture
def connect(tmp_path, monkeypatch):
    """A listener's peers, and how to become one of them."""
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind("s")
        listener.listen(2 * MOST)
        waiting = stack.enter_context(Peers(listener, {os.getuid()}))

        def connected(say=b""):
            link = stack.enter_context(socket.socket(socket.AF_UNIX))
            link.settimeout(10)
            link.connect("s")
            link.sendall(say)
            return link

        yield waiting, connected


def ask(waiting):
    with waiting.next() as link:
        link.settimeout(10)
        return link.recv(9)


def test_silent_ones_are_passed_by(connect):
    waiting, connected = connect
    silent = [connected() for _ in range(5)]
    connected(b"first")
    assert ask(waiting) == b"first"
    connected(b"second")
    silent[3].sendall(b"third")
    assert {ask(waiting), ask(waiting)} == {b"second", b"third"}


def test_the_first_to_come_is_the_first_to_be_read(connect):
    waiting, connected = connect
    for word in (b"a", b"b", b"c"):
        connected(word)
    connected()
    assert [ask(waiting) for _ in range(3)] == [b"a", b"b", b"c"]


def test_silence_ends(connect, monkeypatch):
    monkeypatch.setattr(peers, "READ_SECONDS", 0.05)
    waiting, connected = connect
    silent = connected()
    connected(b"a")
    assert ask(waiting) == b"a"
    monkeypatch.setattr(Peers, "_drop", dropping(Peers._drop))
    with pytest.raises(Dropped):
        waiting.next()
    assert silent.recv(1) == b""


class Dropped(Exception):
    """What wakes one that has nothing else to wait for."""


def dropping(drop):
    def dropped(self, link):
        drop(self, link)
        raise Dropped

    return dropped


def test_one_that_floods_has_room_for_others(connect):
    waiting, connected = connect
    silent = [connected() for _ in range(MOST + 3)]
    connected(b"asks")
    assert ask(waiting) == b"asks"
    assert len(waiting._waiting) <= MOST
    assert [link.recv(1) for link in silent[:3]] == [b""] * 3


def test_other_users_are_closed_at_once(connect, monkeypatch, caplog):
    waiting, connected = connect
    monkeypatch.setattr(peers, "user_of", lambda link: os.getuid() + (not caplog.text))
    stranger = connected(b"a stranger's")
    connected(b"a friend")
    assert ask(waiting) == b"a friend"
    with pytest.raises(ConnectionError):
        stranger.recv(1)
    assert f"user {os.getuid() + 1} asked: not one whom the owner named" in caplog.text


@pytest.mark.parametrize(("end", "left"), [("close", True), ("half", False), ("no", False)])
def test_whether_somebody_waits_for_the_answer(end, left, connect):
    waiting, connected = connect
    asking = connected(b"asks")
    with waiting.next() as link:
        if end == "close":
            asking.close()
        if end == "half":
            asking.shutdown(socket.SHUT_WR)
        assert gone(link) == left
