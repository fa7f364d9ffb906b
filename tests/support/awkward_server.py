"""Emulators of servers as their documentation and their users describe them, on loopback, in this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, Any]
Behaviour = Callable[[Mapping[str, Any], int], Reply]


def chat(text: str | None = "B", finish: str | None = "stop", **message: Any) -> Reply:
    """Return a chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    return 200, {
        "object": "chat.completion",
        "choices": [choice],
        "usage": {"prompt_tokens": 5, "completion_tokens": 1},
    }


def openai_error(message: str, param: str | None = None, code: str | None = None) -> Reply:
    """Return a 400 in OpenAI's form."""
    return 400, {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


@dataclass
class Served:
    """The server's address and what it was sent, in order."""

    url: str
    sent: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def awkward_server(behave: Behaviour) -> Iterator[Served]:
    """Serve `behave`, which gets a call's body and how many calls came before it, and gives status and body."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def reply(self, status: int, body: Any) -> None:
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if isinstance(body, str) else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self.reply(404, {"detail": "Not Found"})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                served.sent.append(body)
                status, answer = behave(body, len(served.sent) - 1)
            self.reply(status, answer)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Served(f"http://127.0.0.1:{server.server_address[1]}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
