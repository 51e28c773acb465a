"""A receiver of HL7 messages as a separate program: python-hl7's MLLP server, which answers as it is told.

Run as `python -m tests.servers.ris FOLDER PORT`; `FOLDER/answers` holds one word for each message to come, taken from
its top, and every message that came is a line of JSON in `FOLDER/received`. Over TLS with `SITE NAME` behind it, a
folder of certificates and the name of its own.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hl7
from hl7.mllp import HL7StreamReader, HL7StreamWriter, start_hl7_server

from tests.servers.processes import answers, end, eventually, free_port
from tests.sites import Site

LATE_S = 3.0


@dataclass
class Ris:
    """Its folder and its port."""

    folder: Path
    port: int = field(default_factory=free_port)
    secured: tuple[Site, str] | None = None
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it, with what it received before."""
        command = [sys.executable, "-m", "tests.servers.ris", str(self.folder), str(self.port)]
        command += [str(self.secured[0].folder), self.secured[1]] if self.secured else []
        with (self.folder / "log").open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output)
        eventually(lambda: answers(self.port), 60, "the RIS answers")

    def stop(self) -> None:
        """It is down."""
        if self.process is not None:
            end(self.process)

    def will(self, *words: str) -> None:
        """How it answers the next messages; those after them with AA."""
        (self.folder / "answers").write_text("\n".join(words))

    def received(self) -> list[str]:
        """Every message, in order."""
        file = self.folder / "received"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def messages(self) -> list[hl7.Message]:
        """The same, parsed by a library that did not make them."""
        return [hl7.parse(each) for each in self.received()]


@contextmanager
def ris(folder: Path, secured: tuple[Site, str] | None = None) -> Iterator[Ris]:
    """A RIS until the end of the block. Over TLS it asks for a certificate, and shows that of a name."""
    folder.mkdir(parents=True, exist_ok=True)
    started = Ris(folder, secured=secured)
    started.start()
    try:
        yield started
    finally:
        started.stop()


def value(message: hl7.Message, segment: str, number: int, which: int = 0) -> str:
    """One field of a segment, unescaped."""
    return str(message.unescape(str(message.segments(segment)[which][number])))


def observations(message: hl7.Message) -> dict[str, tuple[str, str]]:
    """Code to value and flag of each OBX; where a code is there twice, the last."""
    count = len(message.segments("OBX"))
    return {
        value(message, "OBX", 3, each).partition("^")[0]: (value(message, "OBX", 5, each), _flag(message, each))
        for each in range(count)
    }


def _flag(message: hl7.Message, which: int) -> str:
    return value(message, "OBX", 8, which)


class _Receiver:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _next(self) -> str:
        file = self._folder / "answers"
        words = file.read_text().split() if file.exists() else []
        file.write_text("\n".join(words[1:]))
        return words[0] if words else "AA"

    async def serve(self, reader: HL7StreamReader, writer: HL7StreamWriter) -> None:
        try:
            while True:
                await self._one(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _one(self, reader: HL7StreamReader, writer: HL7StreamWriter) -> None:
        first = await reader.readexactly(1)
        word = self._next()
        if word == "cut":  # in the middle of the message
            await reader.readexactly(20)
            writer.transport.abort()
            raise ConnectionResetError
        text = (first + await reader.readuntil(b"\x1c\r")).strip(b"\x0b\x1c\r").decode()
        with (self._folder / "received").open("a") as file:
            file.write(json.dumps(text) + "\n")
        await self._answer(word, hl7.parse(text), writer)

    async def _answer(self, word: str, message: Any, writer: HL7StreamWriter) -> None:
        if word == "hang":
            return
        if word == "close":
            writer.transport.abort()
            raise ConnectionResetError
        if word == "late":
            await asyncio.sleep(LATE_S)
        code, _, error = word.partition(":")
        ack = message.create_ack(code if code in ("AA", "AE", "AR") else "AA")
        if word == "other":
            ack.segment("MSA")[2] = "ANOTHER"
        text = str(ack) + (f"ERR||PID^1^5|{error}^Said of Zqsentinel^HL70357|E\r" if error else "")
        framed = b"\x0b" + text.encode() + b"\x1c\r"
        if word == "half":
            writer.write(framed[: len(framed) // 2])
            await writer.drain()
            writer.close()
            raise ConnectionResetError
        writer.write(b"no message at all\x1c\r" if word == "garbage" else framed)
        await writer.drain()


async def _main(folder: Path, port: int, *secured: str) -> None:
    tls = Site(Path(secured[0])).server(secured[1]) if secured else None
    server = await start_hl7_server(_Receiver(folder).serve, host="127.0.0.1", port=port, limit=1 << 20, ssl=tls)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
