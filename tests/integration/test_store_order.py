"""The order in which a receiver of a running node works: what is promised is on disk before it is promised."""

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.peers import missing, require
from tests.received import slices
from tests.sender import scanner
from tests.servers import Nodus, eventually


def receivers(node: Nodus) -> list[int]:
    assert node.process is not None
    children = Path(f"/proc/{node.process.pid}/task").glob("*/children")
    pids = [int(pid) for path in children for pid in path.read_text().split()]
    return [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@contextmanager
def traced(node: Nodus, trace: Path) -> Iterator[None]:
    """What receivers ask of the system, from the first line of the block to its last."""
    pids = [argument for pid in receivers(node) for argument in ("-p", str(pid))]
    calls = "trace=write,pwrite64,writev,fsync,fdatasync,link,linkat,sendto,sendmsg"
    command = [require("strace", "strace"), "-f", "-yy", "-e", calls, "-o", str(trace), *pids]
    said = trace.with_suffix(".err")
    with said.open("wb") as errors:
        strace = subprocess.Popen(command, stderr=errors)
    try:
        eventually(lambda: "attached" in said.read_text() or strace.poll() is not None)
        if strace.poll() is not None:
            missing(f"this machine does not let strace trace: {said.read_text().strip()}")
        eventually(lambda: said.read_text().count("attached") >= len(pids) // 2)
        yield
    finally:
        strace.send_signal(signal.SIGINT)
        strace.wait()


def steps(trace: Path, node: Nodus, sop_instance_uid: str) -> list[str]:
    """One letter a call: (w)rites the file, (s)yncs it, (l)inks it, syncs its (f)older, (a)nswers."""
    (final,) = {path for path in (node.data / "spool" / "instances").rglob("*.dcm")
                if sop_instance_uid.encode() in path.read_bytes()}  # fmt: skip
    incoming = re.escape(str(node.data / "spool" / "incoming"))
    patterns = {
        "w": rf"p?write(v|64)?\(\d+<{incoming}/",
        "s": rf"f(data)?sync\(\d+<{incoming}/",
        "l": rf'link(at)?\(.*"{re.escape(str(final))}"\) += 0',
        "f": rf"fsync\(\d+<{re.escape(str(final.parent))}>",
        "a": rf"(sendto|sendmsg|write)\(\d+<TCP[^>]*:{node.dicom_port}->.*, \"\\4\\0",
    }
    found = []
    for line in completed(trace.read_text().splitlines()):
        found += [letter for letter, pattern in patterns.items() if re.search(pattern, line)]
    return found


def completed(lines: list[str]) -> Iterator[str]:
    """Each call when it has returned: strace cuts those in two that another thread interrupts."""
    begun: dict[str, str] = {}
    for line in lines:
        thread = line.split(" ", 1)[0]
        if line.endswith("<unfinished ...>"):
            begun[thread] = line
        elif " resumed>" in line:
            yield begun.pop(thread) + line
        else:
            yield line


def test_a_receiver_writes_syncs_links_syncs_the_folder_and_only_then_answers(
    sqlite_node: Nodus, tmp_path: Path
) -> None:
    (payload,) = slices("order")
    trace = tmp_path / "trace"
    with scanner(sqlite_node.dicom_port, [payload]) as one:
        with traced(sqlite_node, trace):
            assert one.store(payload).status == 0
        order = "".join(steps(trace, sqlite_node, payload.sop_instance_uid))
    assert re.fullmatch("w+slfa", order), order
