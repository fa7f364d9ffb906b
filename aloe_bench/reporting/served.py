"""The page of runs as a server of this machine gives it, item by item: for runs that are too large for one file.

Nothing is written and no file is named by a request: a row is known by its number, a picture by its row. The address
holds a random token, as other users of a machine reach its loopback too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from aloe_bench.core import ImageRef
from aloe_bench.reporting.pack import row_details, rows_index, rows_with
from aloe_bench.reporting.page import SERVED, page_sections, rendered
from aloe_bench.reporting.pictures import Album, album
from aloe_bench.reporting.places import find_pictures, wanted_of
from aloe_bench.reporting.read import QuestionSet, question_sets

MOST_ROWS = 500  # at once
MOST_WORDS = 1000
HEADERS = {
    "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store", "Content-Security-Policy": "frame-ancestors 'none'",
}  # fmt: skip
HOSTS = ["127.0.0.1", "localhost"]


def view_app(runs: Sequence[Path], token: str, data: Sequence[Path] = ()) -> Starlette:
    """Return the application that shows `runs` below /`token`/; raises what `question_sets` does.

    `data` are places to look for pictures in, as for a report; whatever their licence, they stay on this machine.
    """
    pages = _Items(question_sets(runs), data)
    routes = [
        Route("/", pages.page),
        Route("/index.json", pages.index),
        Route("/rows/{number:int}", pages.rows),
        Route("/search/{number:int}", pages.search),
        Route("/pictures/{number:int}/{row:int}", pages.pictures),
    ]
    guards = [Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS), Middleware(GZipMiddleware, compresslevel=5)]
    return Starlette(routes=[Mount(f"/{token}", routes=routes)], middleware=guards)


class _Items:
    """What the page asks for; its handlers run in threads."""

    def __init__(self, sets: Sequence[QuestionSet], data: Sequence[Path]) -> None:
        self._sets, self._data, self._looking = sets, data, Lock()
        sections, remarks = page_sections(sets)
        self._page = rendered(sets, sections, remarks, "", Album(), sources=SERVED)
        self._index = json.dumps(rows_index(sets), separators=(",", ":"), allow_nan=False)

    def page(self, request: Request) -> Response:
        """The page with its figures, and no item in it."""
        return HTMLResponse(self._page, headers=HEADERS)

    def index(self, request: Request) -> Response:
        """What every row is filtered and listed by."""
        return Response(self._index, media_type="application/json", headers=HEADERS)

    def rows(self, request: Request) -> Response:
        """All else of the rows `?at=1,2,3`."""
        each = self._set(request)
        numbers = request.query_params.get("at", "").split(",")
        if len(numbers) > MOST_ROWS or not all(map(_is_number, numbers)):
            raise HTTPException(400, f"Expected at=, up to {MOST_ROWS} numbers of rows with commas.", HEADERS)
        places = [self._place(each, int(number)) for number in numbers]
        return _json(row_details(each, places))

    def search(self, request: Request) -> Response:
        """The numbers of the rows whose id, cluster, prompt or a reply has `?words=`."""
        words = request.query_params.get("words", "")
        if not 0 < len(words) <= MOST_WORDS:
            raise HTTPException(400, f"Expected words=, 1 to {MOST_WORDS} characters.", HEADERS)
        return _json(rows_with(self._set(request), words))

    def pictures(self, request: Request) -> Response:
        """The pictures of a row and of its baseline, as a report has them; none where they were not found."""
        each = self._set(request)
        record = each.records[self._place(each, int(request.path_params["row"]))]
        base = [
            r for r in each.records if record.cue is not None and r.cue is None and r.sample_id == record.cue.base_id
        ]
        with self._looking:
            found = self._found
        made = album([*base, record], found, most_items=1, budget_chars=10**9) if found else Album()
        return PlainTextResponse(made.text(), headers=HEADERS)

    def _set(self, request: Request) -> QuestionSet:
        number = int(request.path_params["number"])
        if number >= len(self._sets):
            raise HTTPException(404, "There are no such questions.", HEADERS)
        return self._sets[number]

    @staticmethod
    def _place(each: QuestionSet, number: int) -> int:
        if number >= len(each.records):
            raise HTTPException(404, f"There is no row {number}.", HEADERS)
        return number

    @cached_property
    def _found(self) -> dict[str, ImageRef]:
        return find_pictures(self._data, [wanted_of(each) for each in self._sets])[0]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9


def _json(value: Any) -> Response:
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Response(text, media_type="application/json", headers=HEADERS)
