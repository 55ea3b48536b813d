"""What the page answers, under a path of its own: `html` for people, `api/` for programs.

Whatever changes something is a POST. A form of the page is answered by the page; `api/` takes and
gives JSON. Both say the same over one `Person`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from client.page import html
from client.page.guard import Secrets
from client.person.person import Person
from client.person.shown import told_budget, told_leaving, told_suggestion
from shared.canonical import document
from shared.errors import StarlingError

FILES = {
    "style.css": "text/css",
    "page.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_FOLDER = Path(__file__).with_name("files")
_MOST = 100  # recommended in one request
_COUNT = Annotated[int, Query(ge=1, le=_MOST)]
_LONGEST = 1000  # letters of an item's identifier, or of what is searched for
_ITEM = Annotated[str, Query(min_length=1, max_length=_LONGEST)]


class Word(BaseModel):
    """A person's word on an item; null takes it back."""

    model_config = ConfigDict(extra="forbid", strict=True)
    item: str
    liked: bool | None


class Pause(BaseModel):
    """Whether the device answers nothing."""

    model_config = ConfigDict(extra="forbid", strict=True)
    paused: bool


class Json(Response):
    """One JSON document, as commands print it."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Infinity is a word."""
        return document(content).encode()


def build(person: Person, kept: Secrets) -> FastAPI:
    """The application, without its guard.

    Parameters
    ----------
    person : Person
    kept : Secrets
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, default_response_class=Json)
    app.add_exception_handler(StarlingError, _failed)
    app.add_exception_handler(RequestValidationError, _unlike)
    app.add_exception_handler(HTTPException, _no_such)
    _door(app, kept)
    _pages(app, person, f"/{kept.place}")
    _programs(app, person, f"/{kept.place}/api")
    return app


def _door(app: FastAPI, kept: Secrets) -> None:
    @app.get("/")
    def door() -> Response:
        return HTMLResponse(html.door())

    @app.get("/login")
    def login(code: str = "") -> Response:
        if not kept.use(code):
            return HTMLResponse(html.door("This address was used already, or is too old."), 401)
        return kept.let_in(RedirectResponse(f"/{kept.place}/", 303))

    @app.post("/login")
    async def typed(request: Request) -> Response:
        if not kept.is_token(_fields(await request.body()).get("token", "").strip()):
            return HTMLResponse(html.door("That is not what the file holds."), 401)
        return kept.let_in(RedirectResponse(f"/{kept.place}/", 303))

    @app.get("/files/{name}")
    def file(name: str) -> Response:
        if name not in FILES:
            raise HTTPException(404)
        return Response((_FOLDER / name).read_bytes(), media_type=FILES[name])


def _pages(app: FastAPI, person: Person, at: str) -> None:
    @app.get(f"{at}/")
    def page(about: str = "", find: str = "", more: int = 0) -> Response:
        asked = html.Asked(about[:_LONGEST], find[:_LONGEST], more > 0)
        return HTMLResponse(html.page(person, asked))

    @app.post(f"{at}/feedback")
    async def feedback(request: Request) -> Response:
        given = _fields(await request.body())
        words = {"yes": True, "no": False, "undo": None}
        if given.get("liked") not in words or "item" not in given:
            return PlainTextResponse("item and liked (yes, no, undo) are needed\n", 400)
        thing = await _away(lambda: person.feedback(given["item"], words[given["liked"]]))
        find = f"&find={quote(given['find'])}" if given.get("find") else ""
        return RedirectResponse(f"{at}/?about={quote(thing.item, safe='')}{find}", 303)

    @app.post(f"{at}/pause")
    async def pause(request: Request) -> Response:
        given = _fields(await request.body()).get("paused")
        if given not in ("yes", "no"):
            return PlainTextResponse("paused (yes, no) is needed\n", 400)
        await _away(lambda: person.pause(given == "yes"))
        return RedirectResponse(f"{at}/#control", 303)

    @app.post(f"{at}/forget")
    async def forget(request: Request) -> Response:
        if _fields(await request.body()).get("sure") != "yes":
            return PlainTextResponse("sure (yes) is needed: forgetting cannot be undone\n", 400)
        await _away(person.forget)
        return RedirectResponse(f"{at}/", 303)

    @app.get(f"{at}/export.json")
    def export() -> Response:
        name = 'attachment; filename="starling-export.json"'
        return Response(
            exported(person), media_type="application/json", headers={"Content-Disposition": name}
        )


def _programs(app: FastAPI, person: Person, at: str) -> None:
    @app.get(f"{at}/recommendations")
    def recommendations(k: _COUNT = 10) -> Response:
        found = person.recommend(k)
        told = [told_suggestion(one) for one in found]
        return Json({"ranks_by": person.ranks_by, "recommendations": told})

    @app.get(f"{at}/why")
    def why(item: _ITEM) -> Response:
        return Json(told_suggestion(person.why(item)))

    @app.post(f"{at}/feedback")
    def feedback(word: Word) -> Response:
        return Json(asdict(person.feedback(word.item, word.liked)))

    @app.get(f"{at}/budget")
    def budget() -> Response:
        return Json(told_budget(person.budget()))

    @app.get(f"{at}/leaves")
    def leaves() -> Response:
        return Json(told_leaving(person.leaves()))

    @app.post(f"{at}/pause")
    def pause(given: Pause) -> Response:
        person.pause(given.paused)
        return Json(given.model_dump())


def exported(person: Person) -> bytes:
    """What the device keeps about its person."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "export.json"
        person.export(file)
        return file.read_bytes()


async def _away(work: Any) -> Any:
    """Work that waits for a disk or a model, off the thread that listens."""
    from starlette.concurrency import run_in_threadpool

    return await run_in_threadpool(work)


def _fields(body: bytes) -> Mapping[str, str]:
    """Of a form; nothing of what is none."""
    try:
        return dict(parse_qsl(body.decode(), max_num_fields=10))
    except ValueError:
        return {}


async def _failed(request: Request, error: Exception) -> Response:
    """What is wrong, in one line; to people within the page's frame."""
    if "/api/" in request.url.path:
        return Json({"error": str(error)}, 400)
    return HTMLResponse(html.failed(str(error)), 400)


async def _unlike(request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    told = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found]
    return Json({"error": "; ".join(told)}, 422)


async def _no_such(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    told = {404: "no such page", 405: "not this way"}.get(status, "not a request of this page")
    if "/api/" in request.url.path:
        return Json({"error": told}, status)
    return PlainTextResponse(f"{told}\n", status)
