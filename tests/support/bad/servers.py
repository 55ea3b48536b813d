"""What may be wrong with a server's folder, or with what is said about one."""

from datetime import timedelta

import pytest

from server.up import authority
from server.up.invitations import issue, named, revoke
from tests.support.bad.lab import Case
from tests.support.running import fronts


def _with(spoil, *words):
    """A command on a server's folder to which something happened before."""

    def act(lab):
        lab.may_exist |= {"server/.lock", "server/invitations/.lock"}
        server = fronts.begun(lab.folder / "server")
        given = spoil(server)
        verb, *rest = words
        return lab.run("server", verb, server.path, *([given] if given else []), *rest)

    return act


def _as_it_is(server):
    return None


def _other(name):
    def spoil(server):
        (server.path / name).write_bytes(authority.certificates(["127.0.0.1"])[name])

    return spoil


def _text(name):
    def spoil(server):
        (server.path / name).write_text("text")

    return spoil


def _gone(name):
    def spoil(server):
        (server.path / name).unlink()

    return spoil


def _ended(name):
    """The certificate, or its authority, ended yesterday."""

    def spoil(server):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(authority, "_SKEW", timedelta(days=3))
            patch.setattr(authority, {"server.pem": "DAYS", "ca.pem": "AUTHORITY_DAYS"}[name], -1)
            if name == "server.pem":
                server.renew([])
                return
            for each, content in authority.certificates(["127.0.0.1"]).items():
                (server.path / each).write_bytes(content)

    return spoil


def _revoked(server):
    name = named(issue(server.invitations)[0])
    revoke(server.invitations, name)
    return name


def _none(lab):
    return lab.run("server", "renew", lab.folder / "nowhere")


RUN = {
    "the certificate has ended": _ended("server.pem"),
    "its authority has ended": _ended("ca.pem"),
    "another certificate's key": _other("server.key"),
    "a certificate by another authority": _other("server.pem"),
    "a certificate that is none": _text("server.pem"),
    "a key that is none": _text("server.key"),
    "no key": _gone("server.key"),
}
RENEW = {
    "no key of the authority": _gone("ca.key"),
    "another authority's key": _other("ca.key"),
    "an authority that has ended": _ended("ca.pem"),
}
CASES = {
    **{f"server run: {name}": _with(spoil, "run") for name, spoil in RUN.items()},
    **{f"server renew: {name}": _with(spoil, "renew") for name, spoil in RENEW.items()},
    "server renew: no server's folder": _none,
    "server renew --host: no name": _with(_as_it_is, "renew", "--host", "a_b"),
    "server revoke: nobody's name": _with(_as_it_is, "revoke", "0" * 12),
    "server revoke: twice": _with(_revoked, "revoke"),
}
SERVERS = [Case("server", name, act) for name, act in CASES.items()]
