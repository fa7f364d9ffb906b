"""One large file over HTTP, which resumes where an earlier attempt, or an earlier process, was broken off.

huggingface_hub 2 drops a partial file when its process ends; losing 10 GB of 10.7 is what this avoids.
"""

from __future__ import annotations

import errno
import http.client
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from aloe_bench.errors import DataError

log = logging.getLogger(__name__)
BLOCK = 1 << 18
TIMEOUT_S = 60
ATTEMPTS = 5

# Where the bytes are now, and what to send there; asked again for each attempt, as signed addresses run out.
Address = Callable[[], tuple[str, Mapping[str, str]]]


def download(address: Address, part: Path, size: int, came_in: Callable[[int], None], pause_s: float = 1.0) -> None:
    """Append to `part` until it has `size` bytes; `came_in` hears how many came each time.

    Raises DataError once ATTEMPTS in a row have brought nothing; the part stays.
    """
    failures = 0
    while (held := part.stat().st_size if part.is_file() else 0) != size or not part.is_file():
        if held > size:
            part.unlink()
            continue
        try:
            _append(*address(), part, held, came_in)
        except (OSError, http.client.HTTPException) as error:
            came = part.is_file() and part.stat().st_size > held
            failures = 0 if came else failures + 1
            if failures == ATTEMPTS or _is_final(error):
                raise DataError(
                    f"{part.name}: {part.stat().st_size if part.is_file() else 0} of {size} bytes came, then: {error}. "
                    "Run the same command again: it resumes there."
                ) from error
            log.info("%s: %s; again from byte %d", part.name, error, held)
            time.sleep(pause_s * 2**failures)


def _append(url: str, headers: Mapping[str, str], part: Path, held: int, came_in: Callable[[int], None]) -> None:
    asked = urllib.request.Request(url, headers={**headers, "Accept-Encoding": "identity"})
    if held:
        asked.add_header("Range", f"bytes={held}-")
    with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as reply:
        # A server that does not know ranges sends the whole file.
        goes_on = (
            held > 0 and reply.status == 206 and reply.headers.get("Content-Range", "").startswith(f"bytes {held}-")
        )
        with part.open("ab" if goes_on else "wb") as file:
            while block := reply.read1(BLOCK):
                file.write(block)
                came_in(len(block))
        if reply.length:
            raise http.client.IncompleteRead(b"", reply.length)


def _is_final(error: Exception) -> bool:
    """Return whether asking again cannot help."""
    if isinstance(error, urllib.error.HTTPError):
        # A signed address that has run out is a 403, and the next one asked for is not.
        return error.code < 500 and error.code not in (403, 408, 429)
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
