"""A webhook of an operator's: a real small HTTP server that is down, redirects, refuses or listens, as it is told."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.servers import free_port


@dataclass
class Hook:
    """What was posted to it."""

    port: int = field(default_factory=free_port)
    bodies: list[str] = field(default_factory=list)
    """Of every POST, whatever the answer."""
    answers: list[int] = field(default_factory=list)
    """One status for each POST; then 204."""
    gets: int = 0
    trickles: bool = False
    """Answers with one byte after the other until it is down."""
    _down: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/alerts?token=s3cr3t"

    def posts(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.bodies]

    @contextmanager
    def listening(self, certificate: Path | None = None) -> Iterator[None]:
        """It is up until the end of the block; with a certificate (and its key in the same file) over TLS."""
        self._down.clear()
        server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        if certificate:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate)
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            self._down.set()
            server.shutdown()
            server.server_close()
            thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
                if hook.trickles:
                    self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
                    while not hook._down.wait(0.02):
                        self.wfile.write(b".")
                    return
                self.send_response(hook.answers.pop(0) if hook.answers else 204)
                self.send_header("Location", f"http://127.0.0.1:{hook.port}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                hook.gets += 1
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler
