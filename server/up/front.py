"""The one port that nodes reach: enrolment, what is public, and the part of Flower's API they need.

    POST /enrol               a one-time token and a node's public key
    GET  /catalogue.json      the public items
    GET  /policy.json         the signed policy of the run, once it has begun
    GET  /releases/latest     the manifest of the last release
    GET  /releases/N/FILE     a release
    POST /v1/fleet/...        Flower's Fleet API, passed on to the SuperLink as it is

Nothing else is passed on: the SuperLink's other APIs start runs and ask nobody who they are. Nor is
anything of whoever shows no enrolled node's key: not even its body is read. Whether it is that
node, by a signature, the SuperLink looks itself.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER
from starlette.requests import ClientDisconnect

from server.up.flower import Link, key_of
from server.up.folder import CATALOGUE, ServerFolder
from server.up.invitations import Refused, admit, enrolled
from shared.canonical import read_json
from shared.connections import TimedServer
from shared.errors import EngineError, ProtocolError
from shared.published import ADAPTER, MANIFEST
from shared.published import CATALOGUE as RELEASED_CATALOGUE

ENROL_BYTES = 4096
"""Of an enrolment's body; a longer one is refused before it is read whole."""
FLEET_BYTES = 1 << 28
"""Of one message's."""
_FLEET = {  # what a SuperNode calls, and nothing else of what Flower may have there
    *("activate-node", "deactivate-node", "send-node-heartbeat", "pull-messages", "push-messages"),
    *("get-run", "get-fab", "push-object", "pull-object", "confirm-message-received"),
}
_TICK = 100_000_000  # nanoseconds: coarser than a file system's clock
_FILES = (MANIFEST, ADAPTER, RELEASED_CATALOGUE)
_OWN_TO_A_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "upgrade", "te"}
_TIMEOUT = httpx.Timeout(60.0)


class Callers:
    """Nodes that may call: enrolled, and not revoked.

    Parameters
    ----------
    invitations : Path
        Where that stands; another process may revoke one.
    """

    def __init__(self, invitations: Path) -> None:
        self._invitations = invitations
        self._read, self._keys = 0, frozenset[str]()

    def know(self, header: str) -> bool:
        """Whether a key is one of them, as a SuperNode's header has it: PEM, in base 64."""
        changed = self._invitations.stat().st_mtime_ns
        if changed != self._read:
            there = enrolled(self._invitations)
            self._keys = frozenset(each.key for each in there if each.node and not each.revoked)
            # What is written as this reads, or right after, may leave the folder's time as it is.
            self._read = changed if time.time_ns() - changed > _TICK else 0
        return self._holds(header)

    def _holds(self, header: str) -> bool:
        try:
            return b64decode(header, validate=True).decode() in self._keys
        except ValueError:
            return False


class _TooLong(Exception):
    """A body of more bytes than it may have."""


def create_front(folder: ServerFolder, superlink: str, link: Link) -> FastAPI:
    """The service of a server's folder.

    Parameters
    ----------
    folder : ServerFolder
    superlink : str
        host:port of the SuperLink.
    link : Link
        Where nodes are registered.
    """
    context = ssl.create_default_context(cafile=str(folder.authority))
    client = httpx.AsyncClient(
        base_url=f"https://{superlink}",
        verify=context,
        timeout=_TIMEOUT,
        trust_env=False,
        limits=httpx.Limits(max_connections=None),  # as many as nodes have here
    )

    @asynccontextmanager
    async def closing(app: FastAPI) -> AsyncIterator[None]:
        yield
        await client.aclose()

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=closing)
    callers = Callers(folder.invitations)

    def admitted(token: str, key: str) -> int:
        return admit(folder.invitations, token, key_of(key), link.register)

    @app.post("/enrol")
    async def enrol(request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        try:
            body = b"".join([part async for part in _at_most(request, ENROL_BYTES)])
            token, key = _asked(body)
            number = await run_in_threadpool(admitted, token, key)
        except _TooLong:
            return _told(413, f"an enrolment has at most {ENROL_BYTES} bytes")
        except Refused as why:
            return _told(403, str(why))
        except ProtocolError as why:
            return _told(400, str(why))
        except EngineError as why:
            return _told(503, str(why))
        except ClientDisconnect:
            return Response(status_code=499)  # which nobody hears
        return JSONResponse({"node": str(number)}, status_code=201)

    @app.get("/catalogue.json")
    def catalogue() -> Response:
        return FileResponse(folder.path / CATALOGUE, media_type="application/json")

    @app.get("/policy.json")
    def policy() -> Response:
        file = folder.files.policy
        return FileResponse(file) if file.exists() else _told(404, "no policy was signed yet")

    @app.get("/releases/latest")
    def latest() -> Response:
        version = folder.latest
        return release(str(version), MANIFEST) if version else _told(404, "nothing was released")

    @app.get("/releases/{version}/{name}")
    def release(version: str, name: str) -> Response:
        plain = version.isascii() and version.isdecimal() and len(version) < 12
        file = folder.releases / version / name
        if not plain or name not in _FILES or not file.is_file():
            return _told(404, "there is no such release")
        return FileResponse(file)

    @app.post("/v1/fleet/{name}")
    async def fleet(name: str, request: Request) -> Response:
        if name not in _FLEET:
            return _told(404, "there is no such call")
        if not callers.know(request.headers.get(FLEET_HTTP_PUBLIC_KEY_HEADER, "")):
            return _told(401, "no node's key: never enrolled here, or revoked")
        kept = {n: v for n, v in request.headers.items() if n.lower() not in _OWN_TO_A_HOP}
        asked = client.build_request(
            "POST", f"/v1/fleet/{name}", headers=kept, content=_at_most(request, FLEET_BYTES)
        )
        try:
            answer = await client.send(asked, stream=True)
        except _TooLong:
            return _told(413, f"a message has at most {FLEET_BYTES} bytes")
        except ClientDisconnect:
            return Response(status_code=499)
        except httpx.HTTPError:
            return _told(503, "the SuperLink does not answer")
        headers = {n: v for n, v in answer.headers.items() if n.lower() not in _OWN_TO_A_HOP}
        return StreamingResponse(_passed(answer), answer.status_code, headers)

    return app


async def _passed(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for part in answer.aiter_raw():
            yield part
    finally:
        await answer.aclose()


async def _at_most(request: Request, most: int) -> AsyncIterator[bytes]:
    """A body as it arrives; refused by its announced length, or by what came."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise _TooLong
    count = 0
    async for part in request.stream():
        count += len(part)
        if count > most:
            raise _TooLong
        yield part


def _asked(body: bytes) -> tuple[str, str]:
    try:
        given = read_json(body)
    except ValueError:
        given = None
    if not isinstance(given, dict) or given.keys() != {"token", "key"}:
        raise ProtocolError("an enrolment is a JSON object of token and key")
    if not all(isinstance(each, str) for each in given.values()):
        raise ProtocolError("token and key: expected text")
    return given["token"], given["key"]


def _told(status: int, words: str) -> Response:
    return JSONResponse({"error": words}, status_code=status)


class Front:
    """The service, in a thread of this process.

    Parameters
    ----------
    folder : ServerFolder
    superlink : str
        host:port of the SuperLink.
    link : Link
    """

    def __init__(self, folder: ServerFolder, superlink: str, link: Link) -> None:
        served = folder.served
        settings: dict[str, Any] = {
            "ssl_certfile": str(folder.certificate),
            "ssl_keyfile": str(folder.key),
            "log_config": None,
            "ws": "none",
            "lifespan": "on",
            "access_log": False,
            "server_header": False,
            "timeout_graceful_shutdown": 3,
        }
        app = create_front(folder, superlink, link)
        logging.getLogger("httpx").setLevel(logging.WARNING)  # a line a message, else
        config = uvicorn.Config(app, host=served.listen, port=served.port, **settings)
        self._server = TimedServer(config)
        self._thread = threading.Thread(target=self._server.run, name="front", daemon=True)

    def __enter__(self) -> Front:
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise EngineError("the service for nodes did not start; is its port free?")
            self._thread.join(0.05)
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)
