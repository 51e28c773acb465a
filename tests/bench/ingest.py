"""Ingest of 300 CT slices by dcmsend into Nodus, Orthanc and storescp, in turn, on one disk.

    python -m tests.bench.ingest [--rounds 5]

Nodus answers after fsync and counts until every instance is in the catalog; Orthanc (its default) syncs and indexes
before it answers; storescp does neither. TCP_NODELAY=1 for every DCMTK program and Orthanc: with Nagle's algorithm
each image costs 40 ms and nothing else is seen.
"""

import os
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click
import numpy as np

from node.settings import Settings
from tests import servers
from tests.builders import Scan, ct_series, write_series

SLICES, SIZE = 300, 512
DEADLINE_S = 60.0
Wait = Callable[[int], None]
"""Waits until so many instances are in the receiver's books."""


def write_slices(folder: Path) -> None:
    """300 slices of noise in 512x512x16 bit: as large as real ones, and not compressible by anybody's cleverness."""
    rng = np.random.default_rng(1)
    hu = rng.integers(-1000, 400, (SLICES, SIZE, SIZE)).astype(np.int16)
    write_series(ct_series(hu, Scan(study="bench")), folder)


@contextmanager
def nodus(folder: Path) -> Iterator[tuple[int, Wait]]:
    """Nodus as it comes, without a worker."""
    with servers.nodus(folder, receivers=Settings().receivers) as node:
        rows = partial(_rows, folder / "nodus.db")
        yield node.dicom_port, lambda count: servers.eventually(lambda: rows() >= count, DEADLINE_S)


def _rows(database: Path) -> int:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return int(connection.execute("SELECT count(*) FROM instance").fetchone()[0])


@contextmanager
def orthanc(folder: Path) -> Iterator[tuple[int, Wait]]:
    """Orthanc as it comes, but for its ports and folders."""
    folder.mkdir()
    with servers.orthanc(folder) as server:
        yield server.port, lambda count: None


@contextmanager
def storescp(folder: Path) -> Iterator[tuple[int, Wait]]:
    """DCMTK's storescp, a process an association; no sync, no books."""
    with servers.storescp(folder, "--fork", "+xa") as server:
        yield server.port, lambda count: None


def send(folders: list[Path], port: int) -> None:
    """One dcmsend a folder, all at once."""
    command = [servers.dcmtk("dcmsend"), "-aec", "NODUS", "127.0.0.1", str(port), "+sd"]
    senders = [subprocess.Popen([*command, str(folder)], env=servers.dcmtk_environment()) for folder in folders]
    codes = [sender.wait() for sender in senders]
    if any(codes):
        raise click.ClickException("dcmsend failed.")


def split(folder: Path, parts: int) -> list[Path]:
    """Deal the files of a folder out to several."""
    if parts == 1:
        return [folder]
    folders = [folder.with_name(f"{folder.name}-{part}") for part in range(parts)]
    for part, each in enumerate(folders):
        each.mkdir(exist_ok=True)
        for file in sorted(folder.iterdir())[part::parts]:
            os.link(file, each / file.name)
    return folders


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Times that each receiver is measured, in turn.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to write; a temporary folder by default.")
def main(rounds: int, folder: Path | None) -> None:
    """Print seconds and ratios."""
    receivers = {"Nodus": nodus, "Orthanc": orthanc, "storescp": storescp}
    with tempfile.TemporaryDirectory(dir=folder) as made:
        root = Path(made)
        write_slices(root / "slices")
        for associations in (1, 4):
            folders = split(root / "slices", associations)
            seconds: dict[str, list[float]] = {name: [] for name in receivers}
            for number in range(rounds):
                for name, receiver in receivers.items():
                    target = root / f"{name}-{associations}-{number}"
                    seconds[name].append(measure(receiver, target, folders))
                    shutil.rmtree(target, ignore_errors=True)
            report(associations, seconds)


def measure(receiver: Callable[[Path], object], target: Path, folders: list[Path]) -> float:
    """Seconds until everything is answered, and in the books where there are any."""
    with receiver(target) as (port, wait):  # type: ignore[attr-defined]
        begun = time.perf_counter()
        send(folders, port)
        wait(SLICES)
        return time.perf_counter() - begun


def report(associations: int, seconds: dict[str, list[float]]) -> None:
    """Medians, and how many times Nodus's rate is that of the others, round by round."""
    click.echo(f"{SLICES} slices over {associations} association(s), seconds: median [least, most]")
    for name, each in seconds.items():
        click.echo(f"  {name:9} {statistics.median(each):.2f} [{min(each):.2f}, {max(each):.2f}]")
    for name in ("Orthanc", "storescp"):
        ratios = [other / own for other, own in zip(seconds[name], seconds["Nodus"], strict=True)]
        click.echo(f"  Nodus's rate is {statistics.median(ratios):.2f} times that of {name}")


if __name__ == "__main__":
    main()
