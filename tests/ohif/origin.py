"""One origin for a viewer and its DICOMweb: static files here, the rest from Orthanc."""

import http.client
import mimetypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = "/dicom-web"
CONFIG = """window.config = {
  routerBasename: null, extensions: [], modes: [], showStudyList: true,
  disableConfirmationPrompts: true, maxNumberOfWebWorkers: 2, showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: false, showLoadingIndicator: true, investigationalUseDialog: { option: 'never' },
  maxNumRequests: { interaction: 20, thumbnail: 2, prefetch: 4 }, defaultDataSourceName: 'orthanc',
  // OHIF 3.13.2 breaks off at a group without coordinates, as the summary of the exam is one: it is left out there.
  customizationService: [{ onBeforeSRAddMeasurement: { $set: ({ measurement, SeriesInstanceUID }) => {
    if (measurement.coords.length) { return measurement; }
    window.services.displaySetService.getActiveDisplaySets()
      .filter(each => each.SeriesInstanceUID === SeriesInstanceUID)
      .forEach(each => { each.measurements = each.measurements.filter(one => one.coords.length); });
    return { ...measurement, coords: [{}] };
  } } }],
  dataSources: [{
    namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'orthanc',
    configuration: {
      friendlyName: 'Orthanc', name: 'orthanc', qidoRoot: '/dicom-web', wadoRoot: '/dicom-web',
      wadoUriRoot: '/dicom-web', qidoSupportsIncludeField: false, imageRendering: 'wadors',
      thumbnailRendering: 'wadors', enableStudyLazyLoad: true, supportsFuzzyMatching: false,
      supportsWildcard: true, bulkDataURI: { enabled: true, relativeResolution: 'studies' },
    },
  }],
};
"""
ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
"""A page that is alone with its origin may share memory with its workers."""


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"

    def __init__(self, viewer: Path, orthanc_port: int, *connection: Any) -> None:
        self._viewer, self._orthanc_port = viewer.resolve(), orthanc_port
        super().__init__(*connection)

    def do_GET(self) -> None:
        """A page of the viewer, its settings, or what Orthanc says."""
        if self.path.startswith(ROOT):
            self._pass_on("GET", b"")
        elif self.path == "/app-config.js":
            self._answer(200, "text/javascript", CONFIG.encode())
        else:
            self._send_file(self.path.partition("?")[0])

    def do_POST(self) -> None:
        """For Orthanc."""
        self._pass_on("POST", self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _send_file(self, path: str) -> None:
        wanted = (self._viewer / path.lstrip("/")).resolve()
        if not wanted.is_file() or self._viewer not in wanted.parents:
            wanted = self._viewer / "index.html"  # the viewer's own pages have paths that are no files
        self._answer(200, mimetypes.guess_type(wanted.name)[0] or "application/octet-stream", wanted.read_bytes())

    def _pass_on(self, method: str, body: bytes) -> None:
        there = http.client.HTTPConnection("127.0.0.1", self._orthanc_port, timeout=120)
        kept = {name: self.headers[name] for name in ("Accept", "Content-Type") if name in self.headers}
        host = {"Host": self.headers["Host"]}  # Orthanc writes it into the addresses that it answers with
        there.request(method, self.path, body, kept | host)
        answer = there.getresponse()
        self._answer(answer.status, answer.headers["Content-Type"] or "", answer.read())
        there.close()

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **ISOLATED}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing on stderr for each of hundreds of requests."""


@contextmanager
def served(viewer: Path, orthanc_port: int) -> Iterator[str]:
    """The address of the viewer's built pages with Orthanc's DICOMweb below `/dicom-web`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, viewer, orthanc_port))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
