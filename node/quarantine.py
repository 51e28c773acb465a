"""Encoded results that broke a rule: kept for a person to look at, never sent.

Layout under the data directory, 0700 and 0600: quarantine/job-<id>-<kind>-<rung>.dcm. They hold a patient's data, and
go when the files of their study are removed. No row names them: a job's failure says what they broke.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from node.domain.delivery import ResultKind
from node.spool import sync_directory, write_durably

FOLDER = "quarantine"
_NAME = re.compile(r"job-(\d+)-[A-Z]+-\d+\.dcm")


def keep_quarantined(data: Path, job_id: int, kind: ResultKind, rung: int, content: bytes) -> None:
    """Make the bytes of a broken result durable where nothing is sent from."""
    folder = data / FOLDER
    if not folder.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_directory(data)
    write_durably(folder / f"job-{job_id}-{kind}-{rung}.dcm", content)


def quarantined(data: Path, job_id: int) -> list[Path]:
    """The broken results of a job."""
    return sorted((data / FOLDER).glob(f"job-{job_id}-*.dcm"))


def jobs_in_quarantine(data: Path) -> set[int]:
    """Jobs that have broken results here."""
    return set(_jobs(data / FOLDER))


def _jobs(folder: Path) -> Iterator[int]:
    for file in folder.glob("job-*.dcm"):
        if named := _NAME.fullmatch(file.name):
            yield int(named[1])
