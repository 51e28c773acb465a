"""Workers that studies command (worker_at_will.py), and what becomes of the jobs of those studies."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Table, select

from node.catalog import tables
from tests.servers import Nodus, eventually
from tests.servers.processes import end
from tests.studies import Series

READY_WITHIN_S = 120.0


@contextmanager
def worker(node: Nodus, obeys: str = "", slots: int = 1, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that studies can command, from when it says that it is there."""
    number = len(list(node.data.parent.glob("worker*.log")))
    known = {row["name"] for row in rows(node, tables.worker)}
    values = {**node.environment, "NODUS_DATA": str(node.data), "NODUS_WORKER_SLOTS": str(slots)}
    values |= {"AT_WILL": obeys, "REMAP_SIGTERM": "SIGQUIT", **environment}
    with (node.data.parent / f"worker{number}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.worker_at_will"], env={**os.environ, **values}, stdout=log, stderr=log
        )
    try:
        eventually(lambda: {row["name"] for row in rows(node, tables.worker)} - known, READY_WITHIN_S, "it is there")
        yield process
    finally:
        end(process)


def log_of(node: Nodus, number: int) -> str:
    """What a worker has said."""
    return (node.data.parent / f"worker{number}.log").read_text()


def rows(node: Nodus, table: Table) -> list[dict[str, Any]]:
    """Everything in a table."""
    with node.catalog.reading() as session:
        return [dict(row) for row in session.execute(select(table).order_by(*table.primary_key)).mappings()]


def job_of(node: Nodus, series: Series, kind: str = "analysis") -> dict[str, Any] | None:
    """The job of a study, once there is one."""
    studies = {row["study_instance_uid"]: row["id"] for row in rows(node, tables.study)}
    found = [row for row in rows(node, tables.job) if row["study_id"] == studies.get(series.study_uid)]
    return next((row for row in found if row["kind"] == kind), None)


def ends(node: Nodus, series: Series, state: str, kind: str = "analysis") -> dict[str, Any]:
    """Its job, when it has come to a state."""
    reached = lambda: (job := job_of(node, series, kind)) is not None and job["state"] == state and job  # noqa: E731
    return eventually(reached, READY_WITHIN_S, f"{kind} is {state}") or {}


def commanded(study: str, what: str) -> Series:
    """A study that commands the worker that reads it."""
    return Series(study).having(SeriesDescription=what)
