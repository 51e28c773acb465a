"""What a process holds: memory, threads, descriptors."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers import Nodus


@dataclass(frozen=True)
class Vitals:
    """Of some processes together."""

    pids: tuple[int, ...]
    resident_mib: float
    threads: int
    descriptors: int


def receivers(node: Nodus) -> list[int]:
    """Process ids of the receivers of a node."""
    assert node.process is not None
    children = Path(f"/proc/{node.process.pid}/task").glob("*/children")
    pids = [int(pid) for path in children for pid in path.read_text().split()]
    return sorted(pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes())


def vitals(pids: Sequence[int]) -> Vitals:
    """Now, from /proc."""
    status = [_status(pid) for pid in pids]
    return Vitals(
        tuple(pids),
        sum(int(each["VmRSS"].split()[0]) for each in status) / 1024,
        sum(int(each["Threads"]) for each in status),
        sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids),  # noqa: PTH208
    )


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
