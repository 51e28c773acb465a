"""What went wrong according to the logs, apart from neighbours that were away."""

import json
import re
from collections import Counter
from collections.abc import Iterator

AWAY = re.compile(
    r"OperationalError|InterfaceError|AdminShutdown|Connection\w*Error|BrokenPipeError|WorkerLostError|TimeoutError"
    r"|^EOFError: Ran out of input"
)
"""Errors that say no more than that a neighbour was not there; the last one a receiver whose node was killed while it
began."""
ERROR_LINE = re.compile(r"^[\w.]*(Error|Exception|Exit|Interrupt|Lost|Shutdown|Violation)\b.{0,200}", re.MULTILINE)
CORRUPTION = re.compile(r"corrupt|malformed|UniqueViolation|IntegrityError|IllegalMove", re.IGNORECASE)


def troubles(log: str) -> Counter[str]:
    """How often each error that is none of absence was logged: the classes of its chain of causes."""
    return Counter(filter(_is_trouble, (*_from_json(log), *_plain(log))))


def _is_trouble(error: str) -> bool:
    return bool(CORRUPTION.search(error)) or not AWAY.search(error)


def _from_json(log: str) -> Iterator[str]:
    """Our own lines: the stack without its frames."""
    for line in log.splitlines():
        if line.startswith("{") and '"exc_info"' in line:
            said = json.loads(line)
            classes = [part for part in said["exc_info"].splitlines() if part and not part.startswith(" ")]
            yield f"{said['message']}: {' > '.join(classes)}"
        elif line.startswith("{") and "Traceback" in line:  # a library put one into its message
            yield from (match.group() for match in ERROR_LINE.finditer(line.replace("\\n", "\n")))


def _plain(log: str) -> Iterator[str]:
    """Tracebacks that Python or a library printed itself, with lines of other processes between theirs."""
    plain = "\n".join(line for line in log.splitlines() if not line.startswith("{"))
    for block in plain.split("Traceback (most recent call last):")[1:]:
        last = ERROR_LINE.search(block)
        yield last.group() if last else f"a traceback without an end: {block[-200:]}"
