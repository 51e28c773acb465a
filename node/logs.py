"""JSON log lines that carry study and job, never a patient's name."""

import logging
import sys
import traceback
import warnings
from types import TracebackType

from pythonjsonlogger.json import JsonFormatter

from node.errors import NodusError

LEAST_OF = {
    "pynetdicom": logging.CRITICAL,
    "pydicom": logging.CRITICAL,
    "highdicom": logging.WARNING,
    "sqlalchemy": logging.WARNING,
    "alembic": logging.WARNING,
    "celery": logging.WARNING,
    "kombu": logging.ERROR,
    "uvicorn": logging.WARNING,
}
"""Libraries that would print data sets, or talk too much."""


class PrivateFormatter(JsonFormatter):
    """Stack traces without the words of others: pydicom and databases quote values of patients in theirs."""

    def formatException(  # noqa: N802 - the name is logging's
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        """Where it went wrong and with which class of error, the cause first; words only of our own errors."""
        parts, error = list[str](), ei[1]
        while error is not None:
            said = f": {error}" if isinstance(error, NodusError) else ""
            parts.append("".join(traceback.format_tb(error.__traceback__)) + type(error).__qualname__ + said)
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\n\n".join(reversed(parts))


def configure(level: str) -> None:
    """Send every log line to stderr as one JSON object. Loggers that could print data sets are capped."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        PrivateFormatter(
            "{asctime}{levelname}{name}{message}",
            style="{",
            rename_fields={"asctime": "at", "levelname": "level", "name": "from"},
            datefmt="%Y-%m-%dT%H:%M:%S%z",
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, least in LEAST_OF.items():
        logging.getLogger(name).setLevel(least)
    warnings.simplefilter("ignore", UserWarning)  # pydicom puts values of patients into them
    logging.captureWarnings(True)
