"""The one port of a server: who may join, what is passed on, and who is turned away."""

import contextlib
import http.client
import json
import socket
import ssl
import stat
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor

import pytest

from client.enrolment import Server, Unheard, fetch_release, invited, join
from server.up.authority import certificates
from server.up.flower import key_of
from server.up.front import ENROL_BYTES
from server.up.invitations import Refused, admit, enrolled, issue, left, named, revoke
from shared import connections
from shared.errors import ConfigError, EngineError, PrivacyError, ProtocolError
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
    node, at = place
    join(invitation, node, at)
    assert stat.S_IMODE((node / "node.key").stat().st_mode) == 0o600
    assert key_of((node / "node.pub").read_text()) == front.registry.keys[-1]
    assert {each.name for each in node.iterdir()} == {"ca.pem", "node.key", "node.pub", "node.toml"}
    with pytest.raises(ConfigError, match="was used already"):
        join(invitation, node.with_name("other"), at)
    assert not node.with_name("other").exists()


@pytest.mark.parametrize("answer", [None, (503, b'{"error": "later"}'), (502, b"<html>")])
def test_a_lost_answer_loses_no_key(answer, front, invitation, place, monkeypatch):
    """The token is used up and the key registered: only this folder can be that node."""
    node, at = place
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
        join(invitation, node, at)
    key = key_of((node / "node.pub").read_text())
    assert key == front.registry.keys[-1]
    monkeypatch.undo()
    other = fronts.invited(front.folder, invitation.with_name("other.json"))
    with pytest.raises(ConfigError, match="was begun with another invitation"):
        join(other, node, at)
    join(invitation, node, at)  # the same node, not a second one
    assert key_of((node / "node.pub").read_text()) == key
    assert front.registry.keys.count(key) == 1
    with pytest.raises(ConfigError, match="is there already"):
        join(invitation, node, at)


def test_a_device_is_made_from_the_items_of_an_invitation(front, invitation):
    before = left(front.folder.invitations), len(enrolled(front.folder.invitations))
    assert invited(invitation) == (fronts.ITEMS, front.folder.served.operator)
    after = left(front.folder.invitations), len(enrolled(front.folder.invitations))
    assert after == before  # its token is a node's


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
    node, at = place
    with pytest.raises(ConfigError, match=words) as told:
        join(make(front, tmp_path / "invitation.json"), node, at)
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
    folder, registered = front.folder.invitations, []
    token, _ = issue(folder)

    def register(key):
        registered.append(key)
        return 7

    def use(number):
        try:
            return admit(folder, token, f"key {number}", register)
        except Refused:
            return None

    with ThreadPoolExecutor(8) as many:
        assert [each for each in many.map(use, range(16)) if each] == [7]
    assert len(registered) == 1


def test_a_token_whose_registration_was_not_heard_of_stays_its_keys(front):
    """The SuperLink had registered the key, and what it said was lost on the way to the front."""
    folder, registered = front.folder.invitations, []
    token, _ = issue(folder)

    def lost(key):
        registered.append(key)
        raise EngineError("the SuperLink does not answer")

    with pytest.raises(EngineError):
        admit(folder, token, "key of ann", lost)
    with pytest.raises(Refused, match="was used already"):
        admit(folder, token, "key of eve", lambda key: 8)
    assert registered == ["key of ann"]
    for _ in range(2):  # and once it was heard
        assert admit(folder, token, "key of ann", lambda key: 7) == 7
    second, _ = issue(folder)
    with pytest.raises(ProtocolError, match="is registered already"):
        admit(folder, second, "key of ann", lambda key: 9)
    assert admit(folder, second, "key of eve", lambda key: 9) == 9


def test_a_token_is_good_again_if_the_key_is_refused(front, invitation, place):
    token = read_invitation(invitation).token
    asked = {"token": token, "key": "no key"}
    assert ask(front, "POST", "/enrol", json.dumps(asked))[0] == 400

    def refused(key):
        raise ProtocolError("key: is not accepted by the SuperLink")

    with pytest.raises(ProtocolError):
        admit(front.folder.invitations, token, "key of eve", refused)
    join(invitation, *place)


def test_who_is_revoked_is_let_in_no_more(front, invitation, place):
    folder, token = front.folder.invitations, read_invitation(invitation).token
    join(invitation, *place)
    public = (place[0] / "node.pub").read_text()
    (node,) = [each for each in enrolled(folder) if each.name == named(token)]
    assert call(front, node.key)[0] == 200
    revoke(folder, str(node.node))
    before = list(front.reached)
    assert call(front, node.key)[0] == 401
    assert front.reached == before
    again = json.dumps({"token": token, "key": public})
    assert ask(front, "POST", "/enrol", again)[0] == 403
    with pytest.raises(ConfigError, match=r"was revoked at .* already"):
        revoke(folder, named(token))


def test_an_invitation_that_went_astray_is_revoked_before_it_is_used(front, invitation, place):
    revoke(front.folder.invitations, named(read_invitation(invitation).token))
    with pytest.raises(ConfigError, match="was revoked at"):
        join(invitation, *place)
    with pytest.raises(ConfigError, match="no invitation's name and no node's number"):
        revoke(front.folder.invitations, "0" * 12)


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
    assert call(front, node_of(front), body) == (200, body[::-1])
    assert front.reached[-1] == ("/v1/fleet/pull-messages", body, "signed")


@pytest.mark.parametrize("key", [None, "no key", "\udcff"])
def test_a_message_of_nobody_who_was_enrolled_is_not_read(key, front):
    before = list(front.reached)
    with socket.create_connection(("127.0.0.1", front.folder.served.port)) as plain:
        context = ssl.create_default_context(cafile=str(front.folder.authority))
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as link:
            header = {"flwr-public-key": header_of(key)} if key else {}
            link.sendall(begun(1 << 27, header))
            assert link.recv(1 << 16).startswith(b"HTTP/1.1 401 ")
    assert front.reached == before


def test_slow_peers_keep_no_other_out(front, monkeypatch):
    """More of them than a pool of connections to the SuperLink has, each in the midst of a body."""
    key = node_of(front)
    with contextlib.ExitStack() as stack:
        for _ in range(120):
            link = slow(front, stack)
            link.sendall(begun(1000, {"flwr-public-key": header_of(key)}) + b"x")
        assert call(front, key, b"abc") == (200, b"cba")


def test_where_all_connections_are_taken_the_oldest_makes_room(tmp_path, monkeypatch):
    monkeypatch.setenv("STARLING_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(connections, "MOST", 8)
    with contextlib.ExitStack() as stack:
        front = stack.enter_context(fronts.fronted(fronts.begun(tmp_path / "server")))
        silent = [slow(front, stack) for _ in range(12)]
        assert ask(front, "GET", "/catalogue.json")[0] == 200
        for link in silent[:4]:
            assert over(link)
        silent[-1].sendall(b"GET /catalogue.json HTTP/1.1\r\nHost: x\r\n\r\n")
        assert silent[-1].recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("what", ["HEAD_SECONDS", "EXCHANGE_SECONDS"])
def test_who_takes_too_long_is_hung_up_on(what, tmp_path, monkeypatch):
    """Whether a byte comes now and then or none: only the end of a request counts."""
    monkeypatch.setenv("STARLING_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(connections, what, 0.5)
    with contextlib.ExitStack() as stack:
        front = stack.enter_context(fronts.fronted(fronts.begun(tmp_path / "server")))
        link = slow(front, stack)
        if what == "EXCHANGE_SECONDS":
            link.sendall(b"POST /enrol HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n")
        with contextlib.suppress(OSError):  # it is closed by the other side
            while not over(link, 0.05):
                link.sendall(b"x")


def slow(front, stack):
    """A connection over TLS, on which nothing is said yet."""
    plain = socket.create_connection(("127.0.0.1", front.folder.served.port))
    context = ssl.create_default_context(cafile=str(front.folder.authority))
    link = stack.enter_context(context.wrap_socket(plain, server_hostname="127.0.0.1"))
    link.settimeout(60)
    return link


def over(link, seconds=60.0):
    """Whether the other side has closed it; False where it says nothing for so long."""
    link.settimeout(seconds)
    try:
        return link.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def begun(length, headers):
    """The head of a node's message."""
    lines = ["POST /v1/fleet/pull-messages HTTP/1.1", "Host: x", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def header_of(key):
    return b64encode(key.encode(errors="surrogateescape")).decode()


def call(front, key, body=b"x"):
    """What a node's call of Flower's Fleet API is answered."""
    told = {"flwr-public-key": header_of(key), "flwr-test": "signed"}
    return ask(front, "POST", "/v1/fleet/pull-messages", body, told)


def node_of(front):
    """The key of one more node that was enrolled."""
    token, _ = issue(front.folder.invitations)
    key = f"key by {named(token)}"
    admit(front.folder.invitations, token, key, front.registry.register)
    return key


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
