"""Places for associations, counted over all receiver processes: in total, and for each address.

A place is a file under `run/associations/` of the data directory, and held by a lock on it (flock): the kernel gives it
back when its holder dies, however it dies.
"""

import fcntl
import hashlib
import os
import shutil
from pathlib import Path


class Place:
    """Room for one association."""

    def __init__(self, files: tuple[int, ...]) -> None:
        self._files = files

    def leave(self) -> None:
        """Give it back."""
        for file in self._files:
            os.close(file)
        self._files = ()


class NoPlace(Exception):
    """So many associations are open already."""


class Places:
    """Takes places for one process; others take from the same folder."""

    def __init__(self, folder: Path, total: int, each_address: int) -> None:
        self._folder = folder
        self._total = total
        self._each_address = each_address

    def prepare(self) -> None:
        """Make the folder anew. Call before any process takes a place."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, mode=0o700)

    def take(self, address: str) -> Place:
        """A place for an association from an address. Raises NoPlace, OSError where the disk is full."""
        name = hashlib.sha256(address.encode()).hexdigest()[:16]
        of_address = self._lock_one_of(name, self._each_address)
        if of_address is None:
            raise NoPlace("too many associations from this address are open")
        try:
            of_all = self._lock_one_of("all", self._total)
        except OSError:
            os.close(of_address)
            raise
        if of_all is None:
            os.close(of_address)
            raise NoPlace("too many associations are open")
        return Place((of_address, of_all))

    def _lock_one_of(self, name: str, count: int) -> int | None:
        for number in range(count):
            file = os.open(f"{self._folder}/{name}-{number}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
            else:
                return file
        return None
