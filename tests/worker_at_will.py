"""A worker that a study can command: `python -m tests.worker_at_will`, with what it obeys in AT_WILL.

The Series Description of the images says what happens when they are read: "kill" ends the process as the out-of-memory
killer would, "stop" stops it just before it saves, "hold" keeps it reading until the file in AT_WILL_HOLDS is gone,
"quote" fails with words of the images, as libraries do that meet a value which they cannot take. "shadow-kill",
"shadow-late-kill" and "shadow-hold" do so when another model than ours reads: the second just before it saves, both
only while there is a file AT_WILL_ONCE, which goes first.
Whatever AT_WILL does not name is read as usual. AT_WILL_AHEAD_S is how far the worker's clock is ahead, in seconds.
"""

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

from celery import signals
from pydicom import dcmread
from sqlalchemy.orm import Session

from node.catalog.instant import now_of
from workers import app, tasks

OBEYS = os.environ.get("AT_WILL", "").split()
AHEAD = timedelta(seconds=float(os.environ.get("AT_WILL_AHEAD_S", "0")))


def _command(paths: Sequence[Path]) -> str:
    told = str(dcmread(paths[0], specific_tags=["SeriesDescription"]).SeriesDescription)
    return told if told in OBEYS else ""


def _quote(paths: Sequence[Path]) -> None:
    image = dcmread(paths[0])
    raise ValueError(f"{image.PatientName} ({image.PatientID}, {image.AccessionNumber}) in {image}")


def _kill_once() -> None:
    with suppress(FileNotFoundError):
        Path(os.environ["AT_WILL_ONCE"]).unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def _act(command: str, paths: Sequence[Path], before_saving: list[Callable[[], None]]) -> None:
    """What a command says of one reading."""
    if command == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if command == "stop":
        before_saving.append(lambda: os.kill(os.getpid(), signal.SIGSTOP))
    if command == "quote":
        _quote(paths)
    if command == "hold":
        _hold()


def _act_in_shadow(command: str, before_saving: list[Callable[[], None]]) -> None:
    """The same of a reading by another model than ours."""
    if command == "shadow-kill":
        _kill_once()
    if command == "shadow-late-kill":
        before_saving.append(_kill_once)
    if command == "shadow-hold":
        _hold()


def _hold() -> None:
    while Path(os.environ["AT_WILL_HOLDS"]).exists():
        Event().wait(0.02)


@signals.worker_process_init.connect(weak=False)
def obey(**_: Any) -> None:
    """In a child of the pool, after it has prepared itself."""
    from workers import pipeline
    from workers.models import Shipped

    before_saving: list[Callable[[], None]] = []
    read, save = pipeline.read, tasks._save

    def reading(paths: Sequence[Path], *given: Any, **named: Any) -> Any:
        command = _command(paths)
        _act(command, paths, before_saving)
        if not isinstance(named.get("detector"), Shipped):
            _act_in_shadow(command, before_saving)
        return read(paths, *given, **named)

    def saving(*given: Any) -> None:
        while before_saving:
            before_saving.pop()()
        save(*given)

    pipeline.read, tasks._save = reading, saving


def wrong_time(session: Session) -> datetime:
    """The time, as a host with a wrong clock tells it."""
    return now_of(session) + AHEAD


if __name__ == "__main__":
    app.now_of = tasks.now_of = wrong_time
    app.main()
