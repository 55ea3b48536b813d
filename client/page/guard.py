"""Who may ask: a browser, or a program, of whoever owns the device's folder, on this machine.

    Host              of this address alone                      a name that was rebound to it
    Origin, Sec-Fetch-Site  of this page or of none              another page that makes requests
    a secret          a cookie, or Authorization: Bearer         whoever cannot read the folder
    POST by cookie    says that it comes from this page          a form elsewhere
    a body            of at most 64 KiB                          whoever fills the memory

Cookies know no ports: what else listens on this machine is sent them too. So this one is of a path
that nobody can guess (`place`), and strictly of this site.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "starling"
MOST_BYTES = 64 * 1024
LINK_SECONDS = 600.0  # for which a login address is good, once
_SAFE = {"GET", "HEAD"}

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",  # none at all would leave no Origin on a form of ours
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Secrets:
    """What a browser or a program shows that it is the owner's.

    Parameters
    ----------
    token : str
        Kept in the device's folder, where its owner alone reads it.
    """

    def __init__(self, token: str) -> None:
        self._token = token
        self.place = hashlib.sha256(b"starling page\0" + token.encode()).hexdigest()[:32]
        self._code, self._until = secrets.token_urlsafe(24), time.monotonic() + LINK_SECONDS

    @property
    def code(self) -> str:
        """Of a login address: it opens the page once, within ten minutes."""
        return self._code

    def is_token(self, given: str) -> bool:
        """Compared in a time that says nothing."""
        return hmac.compare_digest(given.encode(), self._token.encode())

    def use(self, code: str) -> bool:
        """Whether a login address's code is good; it is not a second time."""
        good = hmac.compare_digest(code.encode(), self._code.encode())
        if not good or time.monotonic() > self._until:
            return False
        self._code = secrets.token_urlsafe(24)  # known to nobody
        return True

    def let_in(self, response: Response) -> Response:
        """The response, with the cookie: this path's, not a script's, not another site's."""
        path = f"/{self.place}/"
        response.set_cookie(
            COOKIE, self._token, path=path, httponly=True, samesite="strict", max_age=90 * 86400
        )
        return response


class Guard:
    """Around the whole application: what it does not refuse is answered.

    Parameters
    ----------
    app : ASGI application
    kept : Secrets
    hosts : set of str
        `127.0.0.1:PORT` and `localhost:PORT`.
    """

    def __init__(self, app: ASGIApp, kept: Secrets, hosts: set[str]) -> None:
        self._app, self._kept, self._hosts = app, kept, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on with a bound on the body and our headers on the response."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no web socket is ours
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self.refusal(scope)
        if refusal is None:
            body = await _read(receive, scope)
            if body is not None:
                await self._app(scope, _replay(body), with_headers)
                return
            refusal = PlainTextResponse(f"a body of more than {MOST_BYTES} bytes\n", 413)
        await refusal(scope, receive, with_headers)

    def refusal(self, scope: Scope) -> Response | None:
        """What is answered instead; None where the request may pass."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or host not in self._hosts:
            return PlainTextResponse("not a name of this page\n", 421)
        origins, sites = headers.getlist("origin"), headers.getlist("sec-fetch-site")
        ours = [f"http://{host}"]
        if origins not in ([], ours) or not set(sites) <= {"same-origin", "none"}:
            return PlainTextResponse("asked by another page\n", 403)
        if not scope["path"].startswith(f"/{self._kept.place}/"):
            return None  # the door, which is open to whoever shows a secret there
        words = headers.get("authorization", "").split(" ")
        if len(words) == 2 and words[0].lower() == "bearer" and self._kept.is_token(words[1]):
            return None
        if not self._kept.is_token(_cookie(headers)):
            return PlainTextResponse("sign in first: open the address of this page\n", 401)
        if scope["method"] not in _SAFE and not (origins == ours or sites == ["same-origin"]):
            return PlainTextResponse("not asked by this page\n", 403)
        return None


def _cookie(headers: Headers) -> str:
    """Ours, of all that whoever listens on this machine may have set beside it."""
    named = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    return next((value for name, _, value in named if name == COOKIE), "")


async def _read(receive: Receive, scope: Scope) -> bytes | None:
    """The body; None if it is too long, whatever its head says of it."""
    told = Headers(scope=scope).get("content-length", "0")
    if not told.isdigit() or int(told) > MOST_BYTES:
        return None
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return body
        body += bytes(message.get("body", b""))
        if len(body) > MOST_BYTES:
            return None
        if not message.get("more_body", False):
            return body


def _replay(body: bytes) -> Receive:
    """A body that was read, once, and after it the end."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return left.pop() if left else {"type": "http.disconnect"}

    return receive
