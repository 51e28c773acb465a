"""Posts JSON to an address of the operator's: verified, with a deadline, and nowhere else than told."""

import json
from collections.abc import Mapping
from functools import partial
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from node.deadline import Asking
from node.errors import PeerFailed

TIMEOUT_S = 10.0
"""For the connection, for each silence, and in all."""


class _StayHere(HTTPRedirectHandler):
    """A redirect is an answer like any other that is not 2xx: a failure."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def post(url: str, content: Mapping[str, Any], timeout_s: float = TIMEOUT_S) -> None:
    """POST once. Raises PeerFailed for anything but a 2xx status; the URL, which may hold a secret, is not in it."""
    headers = {"Content-Type": "application/json", "User-Agent": "nodus"}
    request = Request(url, json.dumps(content).encode(), headers, method="POST")
    try:
        with build_opener(_StayHere).open(request, timeout=timeout_s):
            pass
    except HTTPError as error:
        with error:
            raise PeerFailed(f"The webhook answered with status {error.code}.") from None
    except (OSError, HTTPException, ValueError) as error:
        raise PeerFailed(f"The webhook cannot be reached ({type(error).__name__}).") from None


class Webhook:
    """An address that is told within a time, however slowly it answers; while it still does, nothing more is told."""

    def __init__(self, url: str, within_s: float = TIMEOUT_S) -> None:
        self._url = url
        self._within_s = within_s
        self._asking = Asking("webhook")

    def post(self, content: Mapping[str, Any]) -> None:
        """POST once. Raises PeerFailed for anything but a 2xx status in time."""
        try:
            self._asking.ask(partial(post, self._url, content), self._within_s)
        except TimeoutError:
            raise PeerFailed(f"The webhook did not answer within {self._within_s:g} s.") from None
