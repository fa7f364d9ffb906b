"""An OpenAI-compatible server on loopback that answers multiple-choice questions, in a thread of the test."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def letters_of(closed: Path) -> dict[str, str]:
    """Return question -> letter of a file of multiple-choice questions in CareQA-Vision's layout."""
    return {row["question"]: "ABCD"[row["cop"] - 1] for row in json.loads(closed.read_text(encoding="utf-8"))}


def reply_to(prompt: str, letters: Mapping[str, str]) -> str:
    """Return what is asked in `prompt`, answered in one of three ways: every fourth wrong, every eighth refused."""
    number, letter = next((i, item[1]) for i, item in enumerate(letters.items()) if item[0] in prompt)
    if number % 8 == 5:
        return "I'm sorry, but I cannot give medical advice."
    said = "BCDA"["ABCD".index(letter)] if number % 4 == 2 else letter
    return (f"The answer is {said}.", f"**{said}**", f"Looking at the picture, I would say {said}.")[number % 3]


@contextmanager
def served_model(letters: Mapping[str, str]) -> Iterator[str]:
    """Serve such a model for as long as the block lasts; gives its base URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self._reply({"object": "list", "data": [{"id": "my-vlm", "object": "model"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            parts = body["messages"][-1]["content"]
            prompt = parts if isinstance(parts, str) else "".join(part.get("text", "") for part in parts)
            message = {"role": "assistant", "content": reply_to(prompt, letters)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
            facts = {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"]}
            self._reply({**facts, "choices": [choice], "usage": usage})

        def _reply(self, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
