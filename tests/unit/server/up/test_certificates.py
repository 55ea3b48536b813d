"""A server's certificate: what is refused, how it is renewed, and that nodes go on."""

import contextlib
import os
from datetime import timedelta
from unittest import mock

import pytest
from cryptography import x509

from client.enrolment import Server, Untrusted, invited, join
from server.up import authority
from server.up.authority import certificates, check_certificate, lasts, until_of
from server.up.conduct import Conductor
from server.up.status import metrics
from shared.errors import ConfigError
from tests.support.command import command
from tests.support.running import fronts


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("STARLING_HOME", str(tmp_path / "home"))
    return fronts.begun(tmp_path / "server")


@pytest.fixture
def node(tmp_path):
    """A node's folder that is not there yet, and a socket's place."""
    (tmp_path / "s").mkdir(mode=0o700)
    return tmp_path / "node", tmp_path / "s" / "s"


def check(folder, *hosts):
    return check_certificate(folder.certificate, folder.key, folder.authority, hosts)


@contextlib.contextmanager
def ended():
    """Whatever is signed here ended yesterday."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(authority, "_SKEW", timedelta(days=3))
        patch.setattr(authority, "DAYS", -1)
        yield patch


def test_it_is_for_its_hosts_and_ends_before_its_authority(folder):
    until = check(folder, "127.0.0.1", "localhost")
    assert (until.days, (until.authority - until.certificate).days) == (824, 3650 - 825)
    assert "for 824 days" in lasts(until)
    with pytest.raises(ConfigError, match=r"is not for other\.example"):
        check(folder, "other.example")


def test_nodes_go_on_when_it_is_renewed(folder, node, tmp_path):
    invitation = fronts.invited(folder, tmp_path / "invitation.json")
    with fronts.fronted(folder):
        join(invitation, *node)
    before = folder.certificate.read_bytes(), folder.key.read_bytes()
    trusted = folder.authority.read_bytes()
    done = command("server", "renew", folder.path, "--host", "learn.example")
    assert "127.0.0.1, localhost, learn.example" in done.out
    assert folder.authority.read_bytes() == trusted
    assert not {*before} & {folder.certificate.read_bytes(), folder.key.read_bytes()}
    assert folder.key.stat().st_mode & 0o077 == 0
    assert folder.served.hosts == ["127.0.0.1", "localhost", "learn.example"]
    check(folder, *folder.served.hosts)
    with fronts.fronted(folder):  # restarted
        assert invited(invitation)[0] == fronts.ITEMS
        address = f"127.0.0.1:{folder.served.port}"
        Server(address, (node[0] / "ca.pem").read_text()).check_trusted()


def test_everybody_says_what_to_do_when_it_has_ended(folder, node, tmp_path):
    with ended():
        folder.renew([])
    invitation = fronts.invited(folder, tmp_path / "invitation.json")
    with pytest.raises(ConfigError, match="not now; make another with starling server renew"):
        Conductor(folder, print).check()
    until = until_of(folder.certificate, folder.authority)
    assert until.days < 0
    assert "has not held since" in lasts(until)
    with fronts.fronted(folder):
        with pytest.raises(Untrusted, match=r"has expired, .*starling server renew"):
            join(invitation, *node)
        assert not node[0].exists()
        folder.renew([])
        with pytest.raises(Untrusted):  # it shows the old one until it is restarted
            join(invitation, *node)
    with fronts.fronted(folder):
        join(invitation, *node)


def test_a_relay_says_at_once_that_it_has_ended(folder, node, tmp_path, monkeypatch):
    invitation = fronts.invited(folder, tmp_path / "invitation.json")
    with fronts.fronted(folder):
        join(invitation, *node)
    started = []
    monkeypatch.setattr("os.execv", lambda *words: started.append(words))
    with mock.patch.dict(os.environ):
        command("client", "relay", node[0])  # whom it cannot reach it tries again
    assert len(started) == 1
    with ended():
        folder.renew([])
    with fronts.fronted(folder):
        told = command("client", "relay", node[0])
    assert (told.code, len(started)) == (2, 1)
    assert "has expired" in told.err


def test_its_end_is_asked_to_be_heeded_a_month_before(folder, monkeypatch):
    monkeypatch.setattr(authority, "DAYS", 20)
    folder.renew([])
    assert lasts(check(folder)).endswith("for 19 days: make another with starling server renew")
    found = dict.fromkeys(("up", "nodes_enrolled", "nodes_revoked", "nodes_online", "users"), 1)
    found |= dict.fromkeys(("rounds_done", "rounds", "epsilon_spent", "release"), 1)
    assert "starling_certificate_days 19" in metrics(
        found | {"certificate_days": 19, "declined": {}}
    )


def test_it_ends_no_later_than_its_authority(monkeypatch):
    monkeypatch.setattr(authority, "AUTHORITY_DAYS", 10)
    made = certificates(["localhost"])
    above, own = (x509.load_pem_x509_certificate(made[name]) for name in ("ca.pem", "server.pem"))
    assert own.not_valid_after_utc == above.not_valid_after_utc


OTHERS = {
    "server.key": "not the key of",
    "server.pem": "is not by .*which nodes trust",
    "ca.pem": "is not by .*which nodes trust",
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_does_not_belong_together_is_refused(name, folder):
    (folder.path / name).write_bytes(certificates(["127.0.0.1"])[name])
    with pytest.raises(ConfigError, match=OTHERS[name]) as told:
        Conductor(folder, print).check()
    assert "\n" not in str(told.value)


def test_one_that_was_half_written_is_renewed_again(folder, monkeypatch):
    (folder.path / "server.key").write_bytes(certificates(["127.0.0.1"])["server.key"])
    with pytest.raises(ConfigError, match="make another with starling server renew"):
        check(folder)
    folder.renew([])
    check(folder, "127.0.0.1")
