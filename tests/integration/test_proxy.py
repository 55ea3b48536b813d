"""nginx with the configuration that is handed out: what passes it, and what does not."""

import contextlib
import http.server
import inspect
import os
import re
import shutil
import signal
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest
from fastapi.routing import iter_route_contexts
from flwr.superlink.main import create_app
from flwr.supernode.fleet_http_client import FleetHttpClient

from server.up.authority import certificates
from tests.support import ROOT
from tests.support.running.superlink import free_port

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="needs nginx")

CALLED = set(re.findall(r"/v1/fleet/[a-z-]+", inspect.getsource(FleetHttpClient)))
OTHERS = {"/v1/fleet/register-node", "/v1/fleet/unregister-node"}  # without a key of their own
PUBLIC = ["/catalogue.json", "/policy.json", "/releases/latest"]
PUBLIC += [f"/releases/12/{name}" for name in ("release.json", "adapter.safetensors")]


class Answer(http.server.BaseHTTPRequestHandler):
    """Says what it was asked."""

    def do_GET(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        told = f"{self.command} {self.path}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *_):
        """Quiet."""


@contextlib.contextmanager
def behind(folder):
    """Whatever listens at the address that the configuration passes on to."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def nginx(folder, behind):
    """The proxy, on a port of loopback; everything it writes below one folder."""
    port = free_port()
    text = (ROOT / "server" / "packaging" / "nginx.conf").read_text()
    for written, here in (
        ("127.0.0.1:9092", f"127.0.0.1:{behind}"),
        ("203.0.113.5:9092", f"127.0.0.1:{port}"),
        ("/var/lib/starling-server/federation", str(folder)),
    ):
        assert written in text
        text = text.replace(written, here)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    # Started by root, its workers would be another user's, who cannot enter a test's folders.
    about = "user root;\n" if os.getuid() == 0 else ""
    about += f"daemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
    (folder / "nginx.conf").write_text(f"{about}http {{\n{places}{text}\n}}\n")
    words = [NGINX, "-e", folder / "error.log", "-p", folder, "-c", folder / "nginx.conf"]
    process = subprocess.Popen(words)
    try:
        while not (folder / "pid").exists():
            assert process.poll() is None, (folder / "error.log").read_text()
            time.sleep(0.02)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """A request through the proxy, by a client that trusts the server's authority alone."""
    folder = tmp_path_factory.mktemp("proxy")
    for name, content in certificates(["localhost", "127.0.0.1"]).items():
        (folder / name).write_bytes(content)
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    with behind(folder) as there, nginx(folder, there) as port:

        def asked(method, path, body=None):
            url = f"https://127.0.0.1:{port}{path}"
            request = urllib.request.Request(url, data=body, method=method)
            try:
                with urllib.request.urlopen(request, context=context) as answer:
                    return answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code

        yield asked


def test_what_a_node_calls_passes(ask):
    assert CALLED > OTHERS
    for path in sorted(CALLED - OTHERS):
        assert ask("POST", path, b"x") == f"POST {path}"
        assert ask("GET", path) == 403
    assert ask("POST", "/enrol", b"{}") == "POST /enrol"
    for path in PUBLIC:
        assert ask("GET", path) == f"GET {path}"
        assert ask("DELETE", path) == 403


def test_nothing_else_of_a_superlink_is_reached(ask):
    own = {context.path for context in iter_route_contexts(create_app().routes)}
    hidden = sorted(own - (CALLED - OTHERS) - set(PUBLIC))
    assert {"/v1/control/start-run", "/v1/runtime/push-messages", "/v1/fleet/register-node"} <= set(
        hidden
    )
    for path in hidden:
        assert ask("POST", re.sub(r"{.*?}", "x", path), b"x") == 404


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/fleet/../control/start-run",
        "/v1/fleet/pull-messages/../../control/start-run",
        "/v1/fleet/pull-messages%2f..%2f..%2fcontrol%2fstart-run",
        "/v1%2fcontrol/start-run",
        "//v1/control/start-run",
        "/releases/latest/../../server.key",
        "/releases/1/server.key",
        "/releases/1/..%2f..%2fserver.key",
        "/releases/x/release.json",
    ],
)
def test_no_other_spelling_leads_anywhere(ask, path):
    assert ask("POST", path, b"x") in (400, 403, 404)
    assert ask("GET", path) in (400, 403, 404)


def test_an_enrolment_is_short(ask):
    assert ask("POST", "/enrol", b"x" * 5000) == 413
    assert ask("POST", "/v1/fleet/push-object", b"x" * 5_000_000) == "POST /v1/fleet/push-object"
