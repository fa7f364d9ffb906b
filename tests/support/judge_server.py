"""An OpenAI-compatible judge on loopback, in a process of its own: it grades by words and counts who asked what."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any

from aloe_bench.judges.jury.rubric import read_case
from aloe_bench.models.mock_judge import true_grade


def _serve(pipe: Connection, delay_s: float) -> None:
    calls: dict[str, int] = {}
    bodies: dict[str, dict[str, Any]] = {}
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def reply(self, status: int, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            with lock:
                stats = {"calls": dict(calls), "bodies": dict(bodies)}
            self.reply(200, stats if self.path == "/stats" else {"data": []})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            model = body["model"]
            case = next(c for m in reversed(body["messages"]) if m["role"] == "user" and (c := read_case(m["content"])))
            with lock:
                who = f"{model} {hashlib.sha256(json.dumps(case).encode()).hexdigest()}"
                calls[who] = calls.get(who, 0) + 1
                bodies[model] = {"authorization": self.headers.get("Authorization", ""), **body}
            time.sleep(delay_s)
            text = "No." if model.startswith("mute") else json.dumps({"grade": true_grade(case[1], case[2])})
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105}
            good = {"id": "x", "object": "chat.completion", "created": 0, "model": model}
            try:
                self.reply(200, {**good, "choices": [choice], "usage": usage})
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

        def handle_error(self, *args: object) -> None:
            """Say nothing of a client that was killed in the middle of its request."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    pipe.send(server.server_address[1])
    server.serve_forever()


def who(model: str, question: str, reference: str, answer: str) -> str:
    """Return the key under which the server counts calls."""
    return f"{model} {hashlib.sha256(json.dumps([question, reference, answer]).encode()).hexdigest()}"


class JudgeServer:
    """A running server; `url` is its base URL for a client."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}/v1"

    def stats(self) -> dict[str, Any]:
        """Return calls (by judge and case) and bodies (the last one of each judge)."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.port}/stats", timeout=10) as reply:
            stats: dict[str, Any] = json.load(reply)
        return stats


@contextmanager
def judge_server(delay_s: float = 0.0) -> Iterator[JudgeServer]:
    """Run a server for as long as the block lasts."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, delay_s), daemon=True)
    process.start()
    theirs.close()
    try:
        assert ours.poll(30), "the server did not start"
        yield JudgeServer(ours.recv())
    finally:
        ours.close()
        process.kill()
        process.join()
        process.close()
