"""Removes files of the spool, but none that came again meanwhile and was answered with success."""

import fcntl
import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from node.spool import changed_at


def came_after(file: Path, moment: datetime) -> bool:
    """Whether a file is there that was received after a moment of `Spool.time`, or in it, be it once more.

    The status change time says it: receiving the same bytes again sets it, too.
    """
    with suppress(FileNotFoundError):
        return changed_at(file) >= moment
    return False


def remove(file: Path, since: datetime) -> bool:
    """Remove a received file durably. False: it came again after `since`, and stays."""
    handle = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # publishing holds it while it looks whether the file is there
        if came_after(file, since):
            return False
        file.unlink(missing_ok=True)
        os.fsync(handle)
    finally:
        os.close(handle)
    return True
