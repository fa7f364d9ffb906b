"""A loopback stand-in for the dataset hub: the few endpoints that its client asks when it fetches files."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse


@dataclass
class Hub:
    """One data set with its commits, newest first; `large` files are stored as the hub stores those over 10 MB.

    `stall_after` bytes of a file the server falls silent; with `slow` it sends 100 kB ten times a second. `served` and
    `ranges` tell what was asked for.
    """

    repo: str
    commits: dict[str, dict[str, bytes]]
    large: set[str] = field(default_factory=set)
    gated: bool = False
    stall_after: int | None = None
    slow: bool = False
    corrupt: set[str] = field(default_factory=set)
    served: dict[str, int] = field(default_factory=dict)
    ranges: list[str] = field(default_factory=list)
    url: str = ""

    def commit(self, revision: str) -> str | None:
        """Return the commit of a revision: "main", or a whole commit."""
        return next(iter(self.commits)) if revision == "main" else revision if revision in self.commits else None

    def entry(self, commit: str, path: str) -> dict[str, object]:
        data = self.commits[commit][path]
        git = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
        lfs = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        plain = {"type": "file", "path": path, "size": len(data), "oid": git}
        return plain | ({"lfs": lfs} if path in self.large else {})


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve `hub` on a free port of this machine while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            path = unquote(urlparse(self.path).path)
            api, files = f"/api/datasets/{hub.repo}", f"/datasets/{hub.repo}/resolve/"
            if hub.gated and path.startswith(files):
                self._send(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted."}, body)
            elif path.startswith(files):
                revision, _, name = path.removeprefix(files).partition("/")
                self._file(hub.commit(revision), name, body)
            elif path.startswith(f"{api}/commits/"):
                about = {"title": "", "message": "", "date": "2026-01-01T00:00:00.000Z", "authors": []}
                self._json([{"id": commit, **about} for commit in hub.commits])
            elif path.startswith(f"{api}/tree/"):
                revision = path.removeprefix(f"{api}/tree/").partition("/")[0]
                commit = hub.commit(revision)
                self._json([hub.entry(commit, name) for name in hub.commits[commit]] if commit else None)
            elif path == api or path.startswith(f"{api}/revision/"):
                commit = hub.commit(path.removeprefix(f"{api}/revision/") if path != api else "main")
                self._json({"id": hub.repo, "sha": commit, "siblings": []} if commit else None)
            else:
                self._send(404, b"", {"X-Error-Code": "RepoNotFound"}, body)

        def _json(self, value: object) -> None:
            if value is None:
                self._send(404, b"", {"X-Error-Code": "RevisionNotFound"}, True)
            else:
                self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"}, True)

        def _file(self, commit: str | None, name: str, body: bool) -> None:
            if commit is None or name not in hub.commits[commit]:
                code = "RevisionNotFound" if commit is None else "EntryNotFound"
                return self._send(404, b"", {"X-Error-Code": code}, body)
            data, entry = hub.commits[commit][name], hub.entry(commit, name)
            etag = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]  # type: ignore[index]
            headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
            if name in hub.corrupt:
                data = bytes([data[0] ^ 1]) + data[1:]
            asked = self.headers.get("Range")
            if not body or not asked:
                return self._send(200, data, headers, body, name)
            hub.ranges.append(f"{name} {asked}")
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return self._send(206, data[start:], headers, body, name)

        def _send(self, code: int, data: bytes, headers: dict[str, str], body: bool, name: str = "") -> None:
            self.send_response(code)
            for key, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(key, value)
            self.end_headers()
            if not body:
                return
            stall = hub.stall_after if name else None
            sent = data if stall is None else data[:stall]
            if name:
                # Before it is sent: a client that is killed meanwhile must not be counted afterwards.
                hub.served[name] = hub.served.get(name, 0) + len(sent)
            for start in range(0, len(sent), 100_000 if name and hub.slow else max(1, len(sent))):
                self.wfile.write(sent[start : start + 100_000] if name and hub.slow else sent)
                self.wfile.flush()
                time.sleep(0.1 if name and hub.slow else 0)
            while stall is not None and len(sent) < len(data) and hub.stall_after is not None:
                time.sleep(0.02)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.stall_after = None
        server.shutdown()
        server.server_close()
