"""The one port of a server: who may join, what is passed on, and who is turned away."""

import http.client
import json
import ssl
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from client.enrolment import Server, Unheard, fetch_release, invited, join
from server.up.authority import certificates, check_certificate
from server.up.front import ENROL_BYTES
from server.up.invitations import Refused, counted, issue, used_up
from shared.errors import ConfigError, PrivacyError
from shared.invitation import read_invitation
from shared.privacy.keys import load_or_create_signing_key
from shared.published import ADAPTER, CATALOGUE, MANIFEST, Manifest, digest_of, signed_manifest
from tests.support.running import fronts


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    home = tmp_path_factory.mktemp("operator")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STARLING_HOME", str(home / "home"))
        with fronts.fronted(fronts.begun(home / "server")) as front:
            yield front


@pytest.fixture
def invitation(front, tmp_path):
    return fronts.invited(front.folder, tmp_path / "invitation.json")


@pytest.fixture
def place(tmp_path):
    """A folder for a socket, and a node's that is not there yet."""
    (tmp_path / "s").mkdir(mode=0o700)
    return tmp_path / "node", tmp_path / "s" / "s"


def ask(front, method, path, body=None, headers=None):
    context = ssl.create_default_context(cafile=str(front.folder.authority))
    port = front.folder.served.port
    link = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
    try:
        link.request(method, path, body, headers or {})
        answer = link.getresponse()
        return answer.status, answer.read()
    finally:
        link.close()


def test_a_node_joins_once(front, invitation, place):
    node, socket = place
    join(invitation, node, socket)
    assert stat.S_IMODE((node / "node.key").stat().st_mode) == 0o600
    assert (node / "node.pub").read_text() == front.registry.keys[-1]
    assert {each.name for each in node.iterdir()} == {"ca.pem", "node.key", "node.pub", "node.toml"}
    with pytest.raises(ConfigError, match="was used already"):
        join(invitation, node.with_name("other"), socket)
    assert not node.with_name("other").exists()


@pytest.mark.parametrize("answer", [None, (503, b'{"error": "later"}'), (502, b"<html>")])
def test_a_lost_answer_loses_no_key(answer, front, invitation, place, monkeypatch):
    """The token is used up and the key registered: only this folder can be that node."""
    node, socket = place
    asks = Server._ask

    def lost(server, method, *rest):
        found = asks(server, method, *rest)
        if method != "POST":
            return found
        if answer is None:
            raise ConfigError("cannot be reached (timed out)")
        return answer

    monkeypatch.setattr(Server, "_ask", lost)
    with pytest.raises(Unheard, match="may be enrolled nonetheless"):
        join(invitation, node, socket)
    assert (node / "node.key").is_file()
    assert (node / "node.pub").read_text() == front.registry.keys[-1]


def test_a_device_is_made_from_the_items_of_an_invitation(front, invitation):
    before = counted(front.folder.invitations)
    assert invited(invitation) == (fronts.ITEMS, front.folder.served.operator)
    assert counted(front.folder.invitations) == before  # its token is a node's


def altered(file, text):
    file.write_text(text)
    return file


def of_another_authority(front, file):
    other = certificates(["127.0.0.1"])["ca.pem"].decode()
    return fronts.invited(front.folder, file, authority=other)


def tampered(front, file):
    whole = json.loads(fronts.invited(front.folder, file).read_text())
    whole["content"]["address"] = "127.0.0.1:1"
    return altered(file, json.dumps(whole))


TURNED_AWAY = {
    "another authority": (of_another_authority, "not the server of this invitation"),
    "tampered": (tampered, "was altered"),
    "guessed token": (lambda f, at: fronts.invited(f.folder, at, token="0" * 64), "not known here"),
    "expired": (lambda f, at: fronts.invited(f.folder, at, days=-1), "expired"),
    "expired at the server": (
        lambda f, at: fronts.invited(f.folder, at, days=-1, expires="2999-01-01T00:00:00+00:00"),
        "expired",
    ),
    "unreachable": (
        lambda f, at: fronts.invited(f.folder, at, address="127.0.0.1:1"),
        "cannot be reached",
    ),
    "no invitation": (lambda f, at: altered(at, "{}"), "not an invitation"),
    "too long": (lambda f, at: altered(at, "[" * 70_000), "more than"),
}


@pytest.mark.parametrize("what", TURNED_AWAY)
def test_nothing_is_left_behind_by_who_is_turned_away(what, front, place, tmp_path):
    make, words = TURNED_AWAY[what]
    node, socket = place
    with pytest.raises(ConfigError, match=words) as told:
        join(make(front, tmp_path / "invitation.json"), node, socket)
    assert "\n" not in str(told.value)
    assert not node.exists()


def test_another_operator_is_refused(invitation, place):
    with pytest.raises(ConfigError, match="ask for an invitation of that one"):
        join(invitation, *place, "ab" * 32)
    with pytest.raises(ConfigError, match="ask for an invitation of that one"):
        invited(invitation, "ab" * 32)


def test_other_items_than_invited_to_are_refused(front, tmp_path):
    file = fronts.invited(front.folder, tmp_path / "i.json", catalogue="0" * 64)
    with pytest.raises(ConfigError, match="not those of the invitation"):
        invited(file)


def test_a_token_is_good_for_one_of_many_at_once(front):
    token, _ = issue(front.folder.invitations)

    def use(number):
        try:
            with used_up(front.folder.invitations, token):
                return number
        except Refused:
            return None

    with ThreadPoolExecutor(8) as many:
        assert sum(each is not None for each in many.map(use, range(16))) == 1


def test_a_token_is_good_again_if_the_node_was_not_registered(front, invitation, place):
    key = {"token": read_invitation(invitation).token, "key": "no key"}
    assert ask(front, "POST", "/enrol", json.dumps(key))[0] == 400
    join(invitation, *place)


def test_tokens_are_kept_as_hashes(front, invitation):
    token = read_invitation(invitation).token
    kept = [each.name + each.read_text() for each in front.folder.invitations.iterdir()]
    assert not any(token in each for each in kept)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/enrol", "x" * (ENROL_BYTES + 1), 413),
        ("POST", "/enrol", "{}", 400),
        ("POST", "/enrol", '{"token": 1, "key": 2}', 400),
        ("POST", "/enrol", "[" * 4000, 400),
        ("GET", "/enrol", None, 405),
        ("DELETE", "/catalogue.json", None, 405),
        ("PUT", "/releases/1/release.json", "x", 405),
        ("GET", "/releases/1/..%2f..%2fserver.key", None, 404),
        ("GET", "/releases/..%2f../server.key", None, 404),
        ("GET", "/releases/%2e%2e/server.key", None, 404),
        ("GET", "/releases/../server.key", None, 404),
        ("GET", "/releases/1/server.key", None, 404),
        ("GET", "/releases/-1/release.json", None, 404),
        ("GET", "/server.key", None, 404),
        ("GET", "/docs", None, 404),
        ("GET", "/openapi.json", None, 404),
        ("POST", "/v1/control/start-run", "x", 404),
        ("POST", "/v1/control/register-node", "x", 404),
        ("POST", "/v1/runtime/acquire-task", "x", 404),
        ("POST", "/v1/fleet/../control/start-run", "x", 404),
        ("POST", "/v1/fleet/..%2fcontrol%2fstart-run", "x", 404),
        ("POST", "/v1/fleet/%2e%2e", "x", 404),
        ("GET", "/v1/fleet/pull-messages", None, 405),
        ("GET", "/health", None, 404),
    ],
)
def test_nothing_else_is_served_or_passed_on(front, method, path, body, status):
    before = list(front.reached)
    assert ask(front, method, path, body)[0] == status
    assert front.reached == before


def test_a_body_that_does_not_say_how_long_it_is_is_cut_off(front):
    parts = (b"x" * 1000 for _ in range(50))
    assert ask(front, "POST", "/enrol", parts)[0] == 413  # an iterator goes in chunks


def test_messages_of_nodes_are_passed_on_as_they_are(front):
    body = bytes(range(256)) * 1000
    said = ask(front, "POST", "/v1/fleet/pull-messages", body, {"flwr-test": "signed"})
    assert said == (200, body[::-1])
    assert front.reached[-1] == ("/v1/fleet/pull-messages", body, "signed")


def released(front, version, key=None):
    folder = front.folder.releases / str(version)
    folder.mkdir()
    (folder / ADAPTER).write_bytes(b"adapter")
    (folder / CATALOGUE).write_bytes((front.folder.path / "catalogue.json").read_bytes())
    files = {name: digest_of(folder / name) for name in (ADAPTER, CATALOGUE)}
    made = Manifest(version, "2026-01-01T00:00:00+00:00", "s", files)
    key = key or load_or_create_signing_key()
    (folder / MANIFEST).write_text(signed_manifest(made, key))
    return folder


def test_a_release_is_fetched_and_an_altered_one_refused(front, invitation, tmp_path):
    folder = released(front, 1)
    got = fetch_release(invitation, tmp_path / "got")
    assert (got / ADAPTER).read_bytes() == b"adapter"
    (folder / ADAPTER).write_bytes(b"Adapter")
    with pytest.raises(PrivacyError, match="not the file that was released"):
        fetch_release(invitation, tmp_path / "altered")


def test_a_certificate_is_for_its_hosts_and_its_time(front):
    check_certificate(front.folder.certificate, ["127.0.0.1", "localhost"])
    with pytest.raises(ConfigError, match=r"is not for other\.example"):
        check_certificate(front.folder.certificate, ["other.example"])
