"""The images of a request, decoded; and the reply of a request that could not be answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aloe_bench.core import Prediction, Request
from aloe_bench.errors import AloeError

# SyntaxError is what Pillow raises for a broken PNG; ValueError, for some broken headers.
IMAGE_ERRORS = (AloeError, OSError, SyntaxError, ValueError)

# The replies that are to be continued, by request id.
Begun = Mapping[str, Prediction]
NOTHING: Begun = {}


def open_images(request: Request) -> list[Any]:
    """Return the request's images decoded as RGB. Raises one of IMAGE_ERRORS."""
    from PIL import Image

    try:
        return [image.open().convert("RGB") for image in request.images]
    except Image.DecompressionBombError as error:
        raise OSError(f"{error} Pillow refuses it; store a smaller copy.") from error


def open_each(requests: list[Request]) -> tuple[list[tuple[Request, list[Any]]], list[tuple[Request, str]]]:
    """Return the requests with their images, each set of images decoded once, and those that failed with why."""
    opened: list[tuple[Request, list[Any]]] = []
    failed: list[tuple[Request, str]] = []
    decoded: dict[tuple[str, ...], list[Any]] = {}
    for request in requests:
        key = tuple(image.sha256 for image in request.images)
        try:
            if key not in decoded:
                decoded[key] = open_images(request)
            opened.append((request, decoded[key]))
        except IMAGE_ERRORS as error:
            failed.append((request, f"image of {request.id}: {error}"))
    return opened, failed


def failed(request: Request, message: str) -> Prediction:
    """Return the Prediction of a request that could not be answered."""
    return Prediction(request.id, None, "error", error=message)
