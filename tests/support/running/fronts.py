"""A server's front over TLS in this process; behind it a SuperLink of the tests' own."""

import contextlib
import http.server
import ssl
import threading
from types import SimpleNamespace

from server.up.authority import certificates
from server.up.flower import free_port
from server.up.folder import LOOPBACK, Served, ServerFolder
from server.up.front import Front
from server.up.invitations import issue
from shared.data.catalogue import Catalogue
from shared.invitation import Invitation, signed_invitation
from shared.privacy.keys import load_or_create_signing_key, public_hex

ITEMS = Catalogue(("a", "b"), ("Alpha. Drama", "Beta. Comedy"))


class Registry:
    """What registers nodes: it keeps their keys."""

    def __init__(self):
        self.keys = []

    def register(self, key):
        if key not in self.keys:
            self.keys.append(key)
        return self.keys.index(key) + 1


def begun(path):
    """A server's folder as `starling server init` makes it, without a run."""
    folder = ServerFolder.begin(path, ITEMS, certificates(LOOPBACK))
    operator = public_hex(load_or_create_signing_key())
    folder.configure(
        Served(["127.0.0.1", "localhost"], free_port(), "127.0.0.1", operator, 2, "eps-8-seed-0")
    )
    return folder


def invited(folder, file, days=1.0, **changed):
    """An invitation in a file; what is changed is signed all the same."""
    served = folder.served
    token, expires = issue(folder.invitations, days)
    fields = {
        "address": f"127.0.0.1:{served.port}",
        "authority": folder.authority.read_text(),
        "operator": served.operator,
        "catalogue": ITEMS.digest,
        "token": token,
        "expires": expires,
    }
    text = signed_invitation(Invitation(**fields | changed), load_or_create_signing_key())
    file.write_text(text)
    return file


@contextlib.contextmanager
def fronted(folder):
    """The front, and what reached the SuperLink behind it."""
    reached = []

    class SuperLink(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            reached.append((self.path, body, self.headers.get("flwr-test")))
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[::-1])

        def log_message(self, *words):
            pass

    class Quiet(http.server.ThreadingHTTPServer):
        def handle_error(self, *about):
            """Peers that hang up."""

    behind = Quiet(("127.0.0.1", 0), SuperLink)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder.certificate, folder.key)
    behind.socket = context.wrap_socket(behind.socket, server_side=True)
    thread = threading.Thread(target=behind.serve_forever)
    thread.start()
    registry = Registry()
    try:
        with Front(folder, f"127.0.0.1:{behind.server_port}", registry):
            yield SimpleNamespace(folder=folder, reached=reached, registry=registry)
    finally:
        behind.shutdown()
        thread.join()
        behind.server_close()
