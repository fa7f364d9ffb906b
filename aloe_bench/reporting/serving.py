"""A page of runs, served by this machine to itself while somebody looks."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from types import TracebackType

from aloe_bench.errors import UsageError, need

HOST = "127.0.0.1"


class PageServer:
    """The page of runs at `url`, until `close` is called or the `with` block ends; the address is a secret.

    Raises UsageError where nothing can listen on `port`, and what reading the runs raises.
    """

    def __init__(self, runs: Sequence[Path], data: Sequence[Path] = (), port: int = 0) -> None:
        need("matplotlib", "starlette", "uvicorn")
        import uvicorn

        from aloe_bench.reporting.served import view_app

        token = secrets.token_urlsafe(16)
        app = view_app(runs, token, data)
        try:
            self._listener = socket.create_server((HOST, port))
        except OSError as error:
            raise UsageError(
                f"Cannot listen on {HOST} port {port} ({error.strerror}); choose another port (0: a free one)."
            ) from error
        self.url = f"http://{HOST}:{self._listener.getsockname()[1]}/{token}/"
        # No access log: it would write down the address.
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = Thread(target=self._server.run, kwargs={"sockets": [self._listener]}, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return once the server has ended."""
        self._thread.join()

    def close(self) -> None:
        """End the server; its address answers no more."""
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def __enter__(self) -> PageServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
