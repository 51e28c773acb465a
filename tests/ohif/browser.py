"""A headless Chromium, driven through its DevTools protocol over two pipes."""

import base64
import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from tests.peers import require
from tests.servers.processes import end, eventually

SIZE = (1600, 900)
STILL_MS = 3000
"""Without a change: then nothing is loaded any more."""
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run"),
    *("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist", "--remote-debugging-pipe"),
)
"""It draws without a graphics card, and as root."""


class Page:
    """One page of a browser."""

    def __init__(self, into: int, out: int) -> None:
        self._into, self._out = os.fdopen(into, "wb", 0), os.fdopen(out, "rb", 0)
        self._numbers, self._rest, self._session = count(1), b"", ""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._ask(
            "Emulation.setDeviceMetricsOverride", width=SIZE[0], height=SIZE[1], deviceScaleFactor=1, mobile=False
        )

    def open(self, url: str) -> None:
        """Go there."""
        self._ask("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """What an expression of JavaScript is; promises are waited for."""
        answer = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        return answer["result"].get("value")

    def wait_for(self, script: str, within_s: float = 240.0) -> Any:
        """Until the expression is true. Raises AssertionError after `within_s`."""
        return eventually(
            lambda: self.run(f"(() => {{ try {{ return {script} }} catch {{ return null }} }})()"), within_s
        )

    def click(self, element: str, times: int = 1) -> None:
        """The left button in the middle of an element, once it is there."""
        self.wait_for(f"!!({element})")
        middle = "(r => [r.x + r.width / 2, r.y + r.height / 2])"
        x, y = self.run(
            f"({element}).scrollIntoView({{block: 'center'}}), {middle}(({element}).getBoundingClientRect())"
        )
        for number in range(1, times + 1):
            for kind in ("mousePressed", "mouseReleased"):
                self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=number)

    def still_picture(self, path: Path) -> None:
        """What a person sees, as PNG, once it does not change any more."""
        seen: list[str] = []

        def is_still() -> bool:
            self.run(f"new Promise(done => setTimeout(done, {STILL_MS}))")
            seen.append(self._ask("Page.captureScreenshot", format="png")["data"])
            return len(seen) > 2 and seen[-1] == seen[-2]

        eventually(is_still, 120.0)
        path.write_bytes(base64.b64decode(seen[-1]))

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        asked = {"id": number, "method": method, "params": parameters}
        self._into.write(json.dumps(asked | ({"sessionId": self._session} if self._session else {})).encode() + b"\0")
        while True:
            answer = json.loads(self._next())
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def _next(self) -> bytes:
        while b"\0" not in self._rest:
            self._rest += os.read(self._out.fileno(), 1 << 20) or self._gone()
        message, _, self._rest = self._rest.partition(b"\0")
        return message

    def _gone(self) -> bytes:
        raise AssertionError("The browser has ended.")


@contextmanager
def browser(log: Path) -> Iterator[Page]:
    """A browser with an empty profile."""
    program = require("chromium", "chromium")
    (its_in, into), (out, its_out) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(prefix="nodus-chromium-", ignore_cleanup_errors=True) as profile:
        options = [program, *OPTIONS, f"--user-data-dir={profile}", f"--window-size={SIZE[0]},{SIZE[1]}"]
        command = f"exec {shlex.join(options)} 3<&{its_in} 4>&{its_out}"  # it reads from 3 and writes to 4
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                ["bash", "-c", command], pass_fds=(its_in, its_out), stdout=stderr, stderr=stderr
            )
        os.close(its_in)
        os.close(its_out)
        try:
            yield Page(into, out)
        finally:
            end(process)
