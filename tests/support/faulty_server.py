"""An OpenAI-compatible server that misbehaves on purpose, in a process of its own, on loopback.

What it does to a call depends on the seed, the prompt and how often that prompt was asked before.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import multiprocessing
import random
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any

FAULTS = ("429", "500", "stall", "cut", "garbage", "empty")


@dataclass(frozen=True)
class Plan:
    """`share` of the calls go wrong, each in one of `faults`; the first `always` calls of a prompt do.

    A call with one of the fields `refused` gets HTTP 400 in the words of a hosted model.
    """

    share: float = 0.0
    faults: tuple[str, ...] = FAULTS
    always: int = 0
    seed: int = 0
    stall_s: float = 2.0
    retry_after: str = "1"
    delay_s: float = 0.0
    refused: tuple[str, ...] = ()


def answer_to(prompt: str) -> str:
    """What the server replies to `prompt` when it behaves."""
    return f"answer to {prompt!r}: {hashlib.sha256(prompt.encode()).hexdigest()[:12]}"


def _text_and_images(messages: list[dict[str, Any]]) -> tuple[str, list[str], list[str]]:
    texts: list[str] = []
    kinds: list[str] = []
    digests: list[str] = []
    for message in messages:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for part in parts:
            kinds.append(part["type"])
            if part["type"] == "text":
                texts.append(part["text"])
            else:
                from PIL import Image

                head, data = part["image_url"]["url"].split(",", 1)
                picture = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
                assert head == f"data:image/{str(picture.format).lower()};base64"
                pixels = picture.mode.encode() + str(picture.size).encode() + picture.tobytes()
                digests.append(hashlib.sha256(pixels).hexdigest())
    return "\n".join(texts), kinds, digests


def _serve(pipe: Connection, plan: Plan) -> None:
    calls: dict[str, list[float]] = {}
    done: dict[str, int] = {}
    seen: dict[str, dict[str, Any]] = {}
    flying = {"now": 0, "most": 0}
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def reply(self, status: int, body: bytes, cut: bool = False, **headers: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)
            self.close_connection = cut

        def refuse(self, status: int, **headers: str) -> None:
            # The worst manners: the caller's own secrets in the body, plain and in a header.
            key = self.headers.get("Authorization", "")
            error = {"error": {"message": f"status {status} for {key} at {self.path}", "headers": key}}
            self.reply(status, json.dumps(error).encode(), X_Echo=key, **headers)

        def do_GET(self) -> None:
            if self.path == "/stats":
                stats = {"calls": calls, "done": done, "seen": seen, "most": flying["most"]}
                self.reply(200, json.dumps(stats).encode())
            elif "models-401" in plan.faults:
                self.refuse(401)
            else:
                self.refuse(404)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            prompt, kinds, digests = _text_and_images(body["messages"])
            with lock:
                flying["now"] += 1
                flying["most"] = max(flying["most"], flying["now"])
                turn = len(calls.setdefault(prompt, []))
                calls[prompt].append(time.monotonic())
                seen[prompt] = {k: v for k, v in body.items() if k != "messages"} | {"kinds": kinds}
            try:
                if refused := next((name for name in plan.refused if name in body), None):
                    told = f"Unsupported parameter: '{refused}' is not supported with this model."
                    self.reply(400, json.dumps({"error": {"message": told, "param": refused}}).encode())
                else:
                    self.behave(prompt, turn, digests)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                with lock:
                    flying["now"] -= 1

        def behave(self, prompt: str, turn: int, digests: list[str]) -> None:
            rng = random.Random(f"{plan.seed}:{prompt}:{turn}")
            faulty = rng.random() < plan.share or turn < plan.always
            fault = rng.choice(plan.faults) if faulty else ""
            text = "pixels " + " ".join(digests) if digests else answer_to(prompt)
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            if "at the limit" in prompt:
                choice["finish_reason"] = "length"
            if fault == "odd":
                choice["finish_reason"] = ["stop"]
            usage = {"prompt_tokens": len(prompt), "completion_tokens": 7, "total_tokens": len(prompt) + 7}
            good: dict[str, Any] = {"id": "x", "object": "chat.completion", "created": 0, "model": "m"}
            good |= {"choices": [] if fault == "empty" else [choice], "usage": usage}
            payload = json.dumps(good).encode()
            time.sleep(plan.delay_s)
            if fault == "429":
                date = plan.retry_after == "date"
                after = formatdate(time.time() + 3, usegmt=True) if date else plan.retry_after
                self.refuse(429, Retry_After=after)
            elif fault.isdigit():
                self.refuse(int(fault))
            elif fault == "stall":
                time.sleep(plan.stall_s)
                self.close_connection = True
            elif fault == "cut":
                self.reply(200, payload, cut=True)
            elif fault == "garbage":
                self.reply(200, b'{"choices": [{"message": {"content": "half an ans')
            else:
                self.reply(200, payload)
                if not fault:
                    with lock:
                        done[prompt] = done.get(prompt, 0) + 1

    class Server(ThreadingHTTPServer):
        def handle_error(self, *args: object) -> None:
            """Say nothing of a client that hung up in the middle of its request."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    pipe.send(server.server_address[1])
    server.serve_forever()


@dataclass(frozen=True)
class FaultyServer:
    """A running server: `url` is its base URL for a client."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def stats(self) -> dict[str, Any]:
        """Return calls (times by prompt), done (answers by prompt), seen (last body) and most (at once)."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.port}/stats", timeout=10) as reply:
            stats: dict[str, Any] = json.load(reply)
        return stats


@contextmanager
def faulty_server(plan: Plan) -> Iterator[FaultyServer]:
    """Run a server that follows `plan` for as long as the block lasts."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, plan), daemon=True)
    process.start()
    theirs.close()
    try:
        assert ours.poll(30), "the server did not start"
        yield FaultyServer(ours.recv())
    finally:
        ours.close()
        process.kill()
        process.join()
        process.close()
