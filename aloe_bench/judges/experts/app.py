"""The annotation web page: a Starlette application over a Store and the items that it gives out.

A rater is whoever holds the link `/r/TOKEN/`. There are no cookies; what changes something is a JSON POST
under that address, so no other site can send it. Sources: OWASP cheat sheets on CSRF and HTTP headers.
"""

from __future__ import annotations

import io
import json
import logging
import re
import sqlite3
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aloe_bench.errors import DataError
from aloe_bench.judges.experts.item import ANSWERS, RatedItem, RatingSheet
from aloe_bench.judges.experts.store import ListLine, Rater, Store

log = logging.getLogger(__name__)
HERE = Path(__file__).parent
MAX_BODY_BYTES = 64 * 1024
MAX_COMMENT = 4000
# On the page a picture is shown at most this long; the enlarged view has every pixel.
SHOWN_PX = 1600
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Robots-Tag": "noindex, nofollow",
}


def create_app(store: Store, items: Sequence[RatedItem], sheet: RatingSheet = ANSWERS) -> ASGIApp:
    """Return the application that shows `items` to the raters of `store`, which has them set up, in `sheet`'s words."""
    pages = _Pages(store, items, sheet)
    app = Starlette(
        routes=[
            Route("/r/{token}", _with_slash),
            Route("/r/{token}/", pages.page),
            Route("/r/{token}/api/state", pages.state),
            Route("/r/{token}/api/rate", pages.rate, methods=["POST"]),
            Route("/r/{token}/api/undo", pages.undo, methods=["POST"]),
            Route("/r/{token}/image/{sha256}/{size}.png", pages.image),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        exception_handlers={HTTPException: pages.refusal, sqlite3.Error: _unsaved},
    )
    return _Headers(app)


class _Headers:
    """Adds `HEADERS` to every response, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


class _Pages:
    def __init__(self, store: Store, items: Sequence[RatedItem], sheet: RatingSheet) -> None:
        self._store, self._sheet = store, sheet
        self._items = {item.id: item for item in items}
        self._images = {image.sha256: image for item in items for image in item.images}
        self._png = lru_cache(maxsize=32)(self._encoded)
        self._templates = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True)

    def page(self, request: Request) -> Response:
        """The page itself; the script fills it from `state`."""
        html = self._templates.get_template("rate.html").render(
            rater=self._rater(request).name, sheet=self._sheet, max_comment=MAX_COMMENT
        )
        return HTMLResponse(html)

    def state(self, request: Request) -> Response:
        """The next unrated item, or the one at `?position=`."""
        rater = self._rater(request)
        wanted = request.query_params.get("position")
        if wanted is None:
            return JSONResponse(self._state(rater))
        places = self._places(rater)
        if not re.fullmatch("[0-9]{1,9}", wanted) or not 1 <= int(wanted) <= len(places):
            raise HTTPException(404, f"There is no item {wanted[:20]}.")
        return JSONResponse(self._state(rater, at=int(wanted)))

    async def rate(self, request: Request) -> Response:
        """Records {item, label, comment}, however often it arrives, and answers with the next unrated item."""
        rater = await run_in_threadpool(self._rater, request)
        body = await _json_body(request)
        item, label, comment = body.get("item"), body.get("label"), body.get("comment", "")
        if not isinstance(item, str) or not isinstance(label, str) or not isinstance(comment, str):
            raise HTTPException(400, "Expected item, label and comment, all of them text.")
        if label not in self._sheet.labels:
            raise HTTPException(400, f"Expected a label out of {', '.join(self._sheet.labels)}.")
        if item not in self._items:
            raise HTTPException(404, "This item is not on your list.")
        if len(comment) > MAX_COMMENT:
            raise HTTPException(400, f"The comment is longer than {MAX_COMMENT} characters.")

        def save() -> dict[str, Any]:
            self._store.rate(rater, item, label, _plain(comment))
            return self._state(rater, after=item)

        return JSONResponse(await run_in_threadpool(_or_404, save))

    async def undo(self, request: Request) -> Response:
        """Takes back the rating {event}, however often it arrives, and answers with its item."""
        rater = await run_in_threadpool(self._rater, request)
        event = (await _json_body(request)).get("event")
        if not isinstance(event, int) or isinstance(event, bool) or not 0 < event < 2**63:
            raise HTTPException(400, "Expected event, the number of a rating.")

        def take_back() -> dict[str, Any]:
            item = self._store.undo(rater, event)
            at = [place.position for place in self._places(rater) if place.item == item]
            return self._state(rater, at=at[0] if at else None)

        return JSONResponse(await run_in_threadpool(_or_404, take_back))

    def image(self, request: Request) -> Response:
        """A picture of one of the rater's own items, as PNG without metadata."""
        rater = self._rater(request)
        sha256, size = request.path_params["sha256"], request.path_params["size"]
        mine = {image.sha256 for place in self._places(rater) for image in self._items[place.item].images}
        if sha256 not in mine or size not in ("page", "full"):
            raise HTTPException(404, "There is no such image.")
        try:
            data = self._png(sha256, SHOWN_PX if size == "page" else None)
        except DataError as error:
            log.error("%s", error)
            raise HTTPException(500, "The image cannot be read; tell whoever sent you the link.") from error
        return Response(data, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})

    def refusal(self, request: Request, error: Exception) -> Response:
        """What is shown instead: JSON below `api/`, a page elsewhere."""
        status, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
        if "/api/" in request.url.path:
            return JSONResponse({"error": detail}, status)
        html = self._templates.get_template("refusal.html").render(status=status, detail=detail)
        return HTMLResponse(html, status)

    def _encoded(self, sha256: str, longest: int | None) -> bytes:
        picture = self._images[sha256].open()
        if longest is not None:
            picture.thumbnail((longest, longest))
        file = io.BytesIO()
        picture.save(file, "PNG", compress_level=1)
        return file.getvalue()

    def _rater(self, request: Request) -> Rater:
        rater = self._store.rater(request.path_params["token"])
        if rater is None:
            raise HTTPException(404, "This link belongs to nobody. Copy the whole link that you were sent.")
        return rater

    def _places(self, rater: Rater) -> list[ListLine]:
        # A run that was cut since (other --limit) may show less than was given out.
        return [place for place in self._store.places(rater) if place.item in self._items]

    def _state(self, rater: Rater, at: int | None = None, after: str | None = None) -> dict[str, Any]:
        """Return what the page shows: the item at place `at`, else the next unrated one after `after`."""
        places = self._places(rater)
        done = [place for place in places if place.label is not None]
        facts: dict[str, Any] = {
            "total": len(places),
            "done": len(done),
            "required": sum(place.required for place in places),
            "done_required": sum(place.required for place in done),
            "last_event": max((place.event for place in done if place.event), default=None),
        }
        start = next((i for i, place in enumerate(places, 1) if place.item == after), 0)
        turn = [*range(start, len(places)), *range(start)]
        index = at - 1 if at is not None else next((i for i in turn if places[i].label is None), None)
        if index is None:
            return {**facts, "position": len(places) + 1, "item": None}
        place = places[index]
        shown = {"position": index + 1, "label": place.label, "comment": place.comment, "optional": not place.required}
        return {**facts, **shown, "item": _shown(self._items[place.item])}


def _shown(item: RatedItem) -> dict[str, Any]:
    images = [
        {
            "page": f"image/{image.sha256}/page.png",
            "full": f"image/{image.sha256}/full.png",
            "width": image.size[0],
            "height": image.size[1],
        }
        for image in item.images
    ]
    texts = {"question": item.question, "reference": item.reference, "answer": item.answer}
    return {"id": item.id, **texts, "images": images}


def _with_slash(request: Request) -> Response:
    # Relative, so that it holds behind a proxy that serves the page under a prefix.
    return RedirectResponse(f"{request.path_params['token']}/", 308)


def _unsaved(request: Request, error: Exception) -> Response:
    log.error("%s", error)
    return JSONResponse({"error": "The ratings file cannot be used just now; nothing was saved."}, 503)


def _or_404(action: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return action()
    except KeyError as error:
        raise HTTPException(404, "This item is not on your list.") from error


async def _json_body(request: Request) -> dict[str, Any]:
    """Return the JSON object that was posted by the page itself; refuses what another site could send."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "Expected application/json.")
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise HTTPException(403, "Sent by another site.")
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY_BYTES:
            raise HTTPException(413, "Too long.")
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "Not JSON.") from error
    if not isinstance(body, dict):
        raise HTTPException(400, "Expected a JSON object.")
    return body


def _plain(text: str) -> str:
    """Return `text` without what a CSV file or a database cannot hold: control characters, half surrogates."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").encode(errors="replace").decode()
    return "".join(c for c in text if c in "\n\t" or (ord(c) >= 32 and ord(c) != 127)).strip()
