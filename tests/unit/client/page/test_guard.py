"""Everybody but the owner's own browser, or a program with the token, is refused by the page."""

import json
import socket
import stat

import pytest

from client.page.guard import HEADERS, MOST_BYTES
from client.page.serving import TOKEN, token_of
from shared import connections
from shared.errors import ConfigError
from tests.support.running import pages
from tests.support.running.released import begun, person


@pytest.fixture(scope="module")
def who(tmp_path_factory, tiny_bert):
    return person(tmp_path_factory.mktemp("device"), tiny_bert)


@pytest.fixture
def served(who):
    with pages.served(who) as (base, kept), pages.client(base) as client:
        yield client, kept


def ours(client):
    """What a browser says of a form on our page."""
    return {"Origin": str(client.base_url).rstrip("/")}


@pytest.fixture
def browser(served):
    """Signed in by the address that is printed."""
    client, kept = served
    assert client.get(f"/login?code={kept.code}").status_code == 303
    return client, f"/{kept.place}"


@pytest.fixture
def program(served, who):
    client, kept = served
    client.headers["Authorization"] = f"Bearer {token_of(who.folder.path)}"
    return client, f"/{kept.place}/api"


def words(client, method, at, **more):
    """Status of an answer that has all our headers, whatever it is."""
    answer = client.request(method, at, **more)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    return answer.status_code


def test_an_address_opens_the_page_once(served, who):
    client, kept = served
    answer = client.get(link := f"/login?code={kept.code}")
    assert answer.headers["location"] == f"/{kept.place}/"
    cookie = answer.headers["set-cookie"]
    for word in ("HttpOnly", "SameSite=strict", f"Path=/{kept.place}/"):
        assert word in cookie
    assert "recommended" in client.get(f"/{kept.place}/").text
    client.cookies.clear()
    assert words(client, "GET", link) == 401
    assert words(client, "GET", f"/{kept.place}/") == 401
    assert words(client, "GET", "/login?code=") == 401
    assert words(client, "POST", "/login", data={"token": "guess"}) == 401
    typed = {"token": token_of(who.folder.path)}
    assert words(client, "POST", "/login", data=typed, headers=ours(client)) == 303
    assert words(client, "GET", f"/{kept.place}/") == 200


def test_an_address_is_good_for_ten_minutes(served, monkeypatch):
    client, kept = served
    monkeypatch.setattr("client.page.guard.time.monotonic", lambda: kept._until + 1)
    assert words(client, "GET", f"/login?code={kept.code}") == 401


def test_the_token_is_its_owners_alone(tmp_path):
    folder = begun(tmp_path / "state").path
    token = token_of(folder)
    file = folder / TOKEN
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert token_of(folder) == token
    assert len(token) >= 40
    file.chmod(0o640)
    with pytest.raises(ConfigError, match=r"others may read it \(mode 640\)"):
        token_of(folder)
    for broken in (b"", b"short\n", b"\xff" * 64):
        file.write_bytes(broken)
        file.chmod(0o600)
        with pytest.raises(ConfigError, match="not a token; remove it"):
            token_of(folder)


@pytest.mark.parametrize(
    "name",
    ["", "evil.example", "evil.example:{port}", "127.0.0.1", "10.0.0.1:{port}", "127.0.0.1:1"],
)
@pytest.mark.parametrize("door", [True, False])
def test_another_name_is_refused_before_anything_else(name, door, browser):
    """A page elsewhere whose name was rebound to this machine (DNS rebinding)."""
    client, place = browser
    at, port = "/" if door else f"{place}/", client.base_url.port
    assert words(client, "GET", at) == 200
    assert words(client, "GET", at, headers={"Host": name.format(port=port)}) == 421
    assert words(client, "GET", at, headers={"Host": f"localhost:{port}"}) == 200


@pytest.mark.parametrize(
    "head",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_another_page_is_refused(head, browser, who):
    client, place = browser
    before = who.folder.store.opinions()
    said = {"item": "orbit", "liked": "yes"}
    assert words(client, "POST", f"{place}/feedback", data=said, headers=head) == 403
    assert words(client, "POST", "/login", data={"token": "x"}, headers=head) == 403
    assert words(client, "GET", f"{place}/", headers=head) == 403
    assert who.folder.store.opinions() == before


def test_a_form_that_does_not_say_where_it_comes_from_is_refused(browser):
    client, place = browser
    said = {"item": "orbit", "liked": "undo"}
    assert words(client, "POST", f"{place}/feedback", data=said) == 403
    assert words(client, "POST", f"{place}/feedback", data=said, headers=ours(client)) == 303
    same = {"Sec-Fetch-Site": "same-origin"}
    assert words(client, "POST", f"{place}/feedback", data=said, headers=same) == 303


@pytest.mark.parametrize(
    "head",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer guess"},
        {"Authorization": "Basic Z3Vlc3M="},
        {"Cookie": "starling=guess"},
        {"Cookie": "starling"},
        {"Cookie": 'starling="'},
        {"Cookie": "=;;"},
    ],
    ids=str,
)
def test_without_the_secret_nothing_is_shown(head, served):
    client, kept = served
    for at in (
        "/",
        "/api/budget",
        "/api/leaves",
        "/export.json",
        "/nothing",
        "/api/why?item=orbit",
    ):
        assert words(client, "GET", f"/{kept.place}{at}", headers=head) == 401
    for at in ("/feedback", "/pause", "/forget", "/api/feedback", "/api/pause"):
        assert words(client, "POST", f"/{kept.place}{at}", headers=head | ours(client)) == 401
    assert "orbit" not in client.get("/", headers=head).text


@pytest.mark.parametrize("at", ["feedback", "pause", "forget", "api/feedback", "api/pause"])
def test_what_changes_something_is_no_get(at, browser):
    client, place = browser
    assert words(client, "GET", f"{place}/{at}") == 405
    assert words(client, "HEAD", f"{place}/{at}") == 405
    assert words(client, "DELETE", f"{place}/{at}", headers=ours(client)) == 405


def test_a_large_body_is_refused_whatever_it_says_of_itself(program):
    client, api = program
    large = b" " * (MOST_BYTES + 1)
    assert words(client, "POST", f"{api}/feedback", content=large) == 413

    def pieces():
        yield from (b" " * 1024 for _ in range(MOST_BYTES // 1024 + 1))

    assert words(client, "POST", f"{api}/feedback", content=pieces()) == 413
    assert words(client, "POST", "/login", content=large) == 413


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"item": "orbit"}',
        b'{"item": 3, "liked": true}',
        b'{"item": "orbit", "liked": "true"}',
        b'{"item": "orbit", "liked": true, "more": 1}',
        b"[" * 50_000,
    ],
    ids=lambda body: repr(body[:40]),
)
def test_what_is_no_request_is_refused_in_words(body, program, who):
    client, api = program
    before = who.folder.store.opinions()
    answer = client.post(
        f"{api}/feedback", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]
    assert who.folder.store.opinions() == before


@pytest.mark.parametrize(
    "item",
    ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "orbit\0", "x" * 1000, "é"],
)
def test_an_item_is_looked_up_and_nothing_else(item, program, browser):
    client, api = program
    answer = client.get(f"{api}/why", params={"item": item})
    assert answer.status_code == 400
    assert "is not among the 18 items" in answer.json()["error"]
    said = client.post(f"{api}/feedback", json={"item": item, "liked": True})
    assert said.status_code == 400
    place = api.removesuffix("/api")
    form = {"item": item, "liked": "yes"}
    assert words(client, "POST", f"{place}/feedback", data=form, headers=ours(client)) == 400
    assert client.get(f"{place}/", params={"about": item, "find": item}).status_code == 200


@pytest.mark.parametrize(
    "name", ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "nothing", "/etc/passwd"]
)
def test_of_files_there_are_three(name, served):
    client, _ = served
    assert words(client, "GET", f"/files/{name}") == 404
    assert "script" in client.get("/files/page.js").text
    assert client.get("/files/style.css").headers["content-type"].startswith("text/css")


@pytest.mark.parametrize("k", ["0", "-1", "101", "many", "1e9", ""])
def test_so_many_are_no_number_of_items(k, program):
    client, api = program
    assert client.get(f"{api}/recommendations", params={"k": k}).status_code == 422


def test_forgetting_asks_once_more(browser, who):
    client, place = browser
    for sure in ({}, {"sure": "no"}, {"sure": ""}):
        assert words(client, "POST", f"{place}/forget", data=sure, headers=ours(client)) == 400
    assert who.folder.store.interactions() is not None


def test_names_on_the_page_are_text(tmp_path, tiny_bert):
    from client.person.person import Person
    from shared.data.catalogue import Catalogue
    from tests.support.running.released import release

    evil = '"><script>alert(1)</script>'
    catalogue = Catalogue((evil, "b", "c"), (f"{evil}. {evil}", "B", "C"))
    device = begun(tmp_path / "state", catalogue)
    device.install(release(tmp_path / "1", tiny_bert, catalogue))
    text = ""
    with pages.served(Person(device)) as (base, kept), pages.client(base) as client:
        client.get(f"/login?code={kept.code}")
        for about in ("", evil):
            text += client.get(f"/{kept.place}/", params={"about": about, "find": evil}).text
        said = {"item": evil, "liked": "yes"}
        answer = client.post(f"/{kept.place}/feedback", data=said, headers=ours(client))
        text += client.get(answer.headers["location"]).text
    assert "&lt;script&gt;" in text
    assert "<script>" not in text
    assert "style=" not in text
    assert "onclick" not in text


def test_what_programs_are_told(program, who):
    client, api = program
    found = client.get(f"{api}/recommendations", params={"k": 3}).json()
    assert [one["item"] for one in found["recommendations"]] == [
        one.item for one in who.recommend(3)
    ]
    first = found["recommendations"][0]["item"]
    assert client.get(f"{api}/why", params={"item": first}).json()["item"] == first
    assert client.post(f"{api}/feedback", json={"item": first, "liked": False}).json() == {
        "item": first,
        "title": who.thing(first).title,
        "about": who.thing(first).about,
        "liked": False,
    }
    assert client.post(f"{api}/feedback", json={"item": first, "liked": None}).status_code == 200
    assert client.get(f"{api}/budget").json()["budgets"] == []
    assert client.get(f"{api}/leaves").json()["messages"] == 0
    assert client.post(f"{api}/pause", json={"paused": True}).json() == {"paused": True}
    assert client.get(f"{api}/budget").json()["caps"]["pause"]
    assert client.post(f"{api}/pause", json={"paused": False}).status_code == 200
    assert json.loads(client.get(api.removesuffix("api") + "export.json").text)


def test_whoever_connects_and_says_nothing_is_hung_up_on(who, monkeypatch):
    """Another user of this machine could else hold all the files that the page may open."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    with pages.served(who) as (base, _):
        _, _, port = base.rpartition(":")
        with socket.create_connection(("127.0.0.1", int(port)), timeout=60) as silent:
            assert silent.recv(1) == b""
