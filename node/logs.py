"""JSON log lines that carry study and job, never a patient's name."""

import logging
import sys
import warnings

from pythonjsonlogger.json import JsonFormatter

LEAST_OF = {
    "pynetdicom": logging.CRITICAL,
    "pydicom": logging.ERROR,
    "highdicom": logging.WARNING,
    "sqlalchemy": logging.WARNING,
    "alembic": logging.WARNING,
    "celery": logging.WARNING,
    "kombu": logging.ERROR,
    "uvicorn": logging.WARNING,
}
"""Libraries that would print data sets, or talk too much."""


def configure(level: str) -> None:
    """Send every log line to stderr as one JSON object. Loggers that could print data sets are capped."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(
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
