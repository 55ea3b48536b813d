"""Whom a device's process answers, and where it may listen."""

import os
import socket

import pytest

from client.device.folder import DeviceFolder, Owned
from client.device.process import SERVING, Process
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
        process._serve_one(listener)
        if named:
            assert receive(relay).kind == FAILURE
            return
        with pytest.raises((ProtocolError, OSError)):
            receive(relay)
    assert f"user {os.getuid()} asked: not one whom the owner named" in caplog.text


def test_another_users_relay_needs_a_socket_that_it_can_reach(tmp_path):
    state = tmp_path / "state"
    DeviceFolder.begin(state, Owned("u", operator()), Catalogue(("a", "b"), ("A", "B")))
    told = command("client", "serve", "--state", state, "--uid", os.getuid() + 1)
    assert told.code == 2, told.err
    assert "--uid: another user reaches no socket in the state folder" in told.err
    assert (state / SERVING).stat().st_mode & 0o777 == 0o700
    nobody = command("client", "serve", "--state", tmp_path)
    assert (nobody.code, "no device is here" in nobody.err) == (2, True)
