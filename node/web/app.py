"""The web port: /healthz, /readyz and /metrics."""

import socket
import threading
from collections.abc import Callable, Mapping

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

Checks = Callable[[], Mapping[str, str]]
"""Name of each part to "ok", or to one sentence that says what is wrong."""


def application(checks: Checks, registry: CollectorRegistry) -> Starlette:
    """The routes."""

    def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    def readyz(_: Request) -> Response:
        state = dict(checks())
        ready = all(value == "ok" for value in state.values())
        return JSONResponse(state, status_code=200 if ready else 503)

    def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)])


class WebServer:
    """Serves an application on a bound socket in its own thread."""

    def __init__(self, app: Starlette, listener: socket.socket) -> None:
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="web", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End."""
        self._server.should_exit = True
        self._thread.join(timeout_s)
