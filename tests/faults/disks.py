"""A small disk of its own: full, freed, read-only and writable again as a test wants it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.peers import missing


@dataclass(frozen=True)
class Disk:
    """A mounted tmpfs."""

    folder: Path

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        """Leave not a byte free."""
        with self._ballast.open("ab", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                continue

    def leave(self, count: int) -> None:
        """Leave so many bytes free."""
        self.fill()
        os.truncate(self._ballast, self._ballast.stat().st_size - count)

    def free(self) -> None:
        """Give back what `fill` took."""
        self._ballast.unlink()

    def read_only(self, wanted: bool = True) -> None:
        """Remount it. Raises CalledProcessError while a file is open for writing."""
        mode = "remount,ro" if wanted else "remount,rw"
        subprocess.run(["mount", "-o", mode, str(self.folder)], check=True, capture_output=True)


@contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[Disk]:
    """A tmpfs of so many MiB; skips where nobody may mount one (root in a plain container may not)."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0700", "nodus-test", str(folder)]
    if os.getuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        missing("a small disk cannot be mounted here: it takes root and CAP_SYS_ADMIN")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
