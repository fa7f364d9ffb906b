"""A server on loopback, in this process, that answers as it is told to: replies, errors, and bytes on the wire."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Manner = Literal["whole", "dropped", "half", "unmeasured", "hangs up", "trickles", "never ends"]


@dataclass(frozen=True)
class Wire:
    """A reply whose headers or bytes are its point.

    `manner`: "dropped" sends nothing, "half" stops in the middle, "unmeasured" says no length and closes, "hangs up"
    closes a connection that it promised to keep, "trickles" sends blank lines first, "never ends" nothing but these.
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    manner: Manner = "whole"


Reply = tuple[int, Any] | Wire
Behaviour = Callable[[Mapping[str, Any], int], Reply]
Gate = Callable[[str, Mapping[str, str]], Reply | None]


def chat(text: Any = "B", finish: str | None = "stop", **message: Any) -> tuple[int, Any]:
    """Return a chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    return 200, {
        "object": "chat.completion",
        "choices": [choice],
        "usage": {"prompt_tokens": 5, "completion_tokens": 1},
    }


def openai_error(message: str, param: str | None = None, code: str | None = None) -> tuple[int, Any]:
    """Return a 400 in OpenAI's form."""
    return 400, {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


@dataclass
class Served:
    """The server's address and what it was sent, in order."""

    url: str
    sent: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def awkward_server(behave: Behaviour, gate: Gate = lambda path, headers: None) -> Iterator[Served]:
    """Serve `behave`, which gets a call's body and how many calls came before it, and gives status and body.

    `gate` gets its path and headers and may answer first.
    """
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def reply(self, wire: Wire) -> None:
            body = wire.body
            data = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
            if wire.manner == "dropped":
                self.close_connection = True
                return
            self.send_response(wire.status)
            kind = "text/html" if isinstance(body, str) else "application/json"
            unmeasured = wire.manner in ("unmeasured", "trickles", "never ends")
            length = {"Connection": "close"} if unmeasured else {"Content-Length": str(len(data))}
            for name, value in ({"Content-Type": kind} | length | dict(wire.headers)).items():
                self.send_header(name, value)
            self.end_headers()
            for _ in range({"trickles": 4, "never ends": 200}.get(wire.manner, 0)):
                self.wfile.write(b"\n")
                time.sleep(0.02)
            if wire.manner != "never ends":
                self.wfile.write(data[: len(data) // 2] if wire.manner == "half" else data)
            self.close_connection = wire.manner != "whole"

        def do_GET(self) -> None:
            self.reply(Wire(404, {"detail": "Not Found"}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                served.sent.append(body)
                answer = gate(self.path, self.headers) or behave(body, len(served.sent) - 1)
            with suppress(BrokenPipeError, ConnectionResetError):
                self.reply(answer if isinstance(answer, Wire) else Wire(*answer))

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: object) -> None:
            """Say nothing of a client that hung up."""

    server = Server(("127.0.0.1", 0), Handler)
    served = Served(f"http://127.0.0.1:{server.server_address[1]}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
