"""A hospital in small that can be killed in parts: a node, its workers, broker and database, and two PACS."""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from redis import Redis

from node.queue import QUEUE
from tests.endurance.programs import Program, children, command_line, lasting_port, supervised
from tests.servers import Nodus, Postgres, answers, dcmtk, dcmtk_environment
from tests.servers.databases import pongs, postgres_command, redis_command
from tests.servers.processes import end

SENDERS = [{"network": "127.0.0.0/8", "gapless_quiet_s": 0.3, "quiet_s": 8.0}]
"""A modality whose association was cut must be back before its study counts as complete."""
LEASE_S = 10.0
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""For torch: a reading must not take the processors from what is measured."""
KEEP = "keep"
"""While this file is in the folder of a site, the folder stays: what went wrong can be looked at."""
PACS = ("ARCHIVE", "VIEWER")


class Setup(StrEnum):
    """The two ways to run a node."""

    EMBEDDED = "embedded"
    """SQLite, files as broker, the worker a child of the node."""
    PRODUCTION = "production"
    """PostgreSQL, Redis, workers of their own."""


@dataclass
class Site:
    """Everything that runs."""

    setup: Setup
    node: Nodus
    pacs: dict[str, Program]
    """By AE title; each file in its folder is one C-STORE that stored."""
    supervisor: ExitStack
    """Of workers that are not the node's own; closing it ends the supervision."""
    broker: Program | None = None
    database: Program | None = None
    workers: list[Program] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Where all of it is."""
        return self.node.data.parent

    def received(self, ae_title: str) -> list[Path]:
        """One file for each C-STORE that a PACS has stored, the same instance twice included."""
        return sorted((self.folder / ae_title).iterdir())

    def node_pid(self) -> int:
        """Of the node's own process."""
        assert self.node.process is not None
        return self.node.process.pid

    def receivers(self) -> list[int]:
        """Of the processes that receive."""
        return [pid for pid in children(self.node_pid()) if "spawn_main" in command_line(pid)]

    def worker_pids(self) -> list[int]:
        """Of the workers' main processes, wherever they run."""
        if self.workers:
            return [each.pid for each in self.workers]
        return [pid for pid in children(self.node_pid()) if "workers.app" in command_line(pid)]

    def pool_children(self) -> list[int]:
        """Of the processes that analyse."""
        return [child for pid in self.worker_pids() for child in children(pid)]

    def messages(self) -> int:
        """How many hints wait in the broker."""
        if self.broker is None:
            return len(list((self.node.data / "broker" / "messages").iterdir()))
        with Redis(port=int(self.broker.command[2])) as client:
            return int(client.llen(QUEUE))

    def forget(self) -> None:
        """All went well: nobody needs the folder."""
        (self.folder / KEEP).unlink()

    def stop(self) -> None:
        """End node and workers in order."""
        self.supervisor.close()
        for worker in self.workers:
            worker.stop()
        self.node.stop()

    def logs(self) -> str:
        """Everything that node and workers wrote."""
        return self.node.log() + "".join(each.log.read_text(errors="replace") for each in self.workers)


@contextmanager
def site(setup: Setup, seed: int, workers: int = 1) -> Iterator[Site]:
    """A site until the end of the block, in a folder of its own that the user of PostgreSQL can reach.

    An embedded node has its one worker, whatever is asked for.
    """
    rng = random.Random(f"{seed} ports")
    folder = Path(tempfile.mkdtemp(prefix=f"nodus-{setup}-"))
    folder.chmod(0o755)
    try:
        with ExitStack() as stack:
            (folder / KEEP).touch()
            yield _started(stack, setup, folder, rng, workers)
    finally:
        if not (folder / KEEP).exists():
            shutil.rmtree(folder)


def _started(stack: ExitStack, setup: Setup, folder: Path, rng: random.Random, workers: int) -> Site:
    pacs = {ae_title: _run(stack, storescp(folder / ae_title, lasting_port(rng))) for ae_title in PACS}
    settings: dict[str, object] = {
        "destinations": [_destination(ae_title, program) for ae_title, program in pacs.items()],
        "senders": SENDERS,
        "lease_s": LEASE_S,
        "receivers": 2,
        "worker": setup is Setup.EMBEDDED,
        "minimum_free_gib": 0,
    }
    broker = database = None
    if setup is Setup.PRODUCTION:
        broker, settings["broker_url"] = _redis(stack, folder / "redis", lasting_port(rng))
        database, settings["database_url"] = _postgres(stack, folder / "postgres", lasting_port(rng))
    node = _node(stack, folder / "data", lasting_port(rng), settings)
    external = [_worker(node, number) for number in range(workers)] if setup is Setup.PRODUCTION else []
    for each in external:
        _run(stack, each)
    supervisor = stack.enter_context(ExitStack())
    supervisor.enter_context(supervised(external))
    return Site(setup, node, pacs, supervisor, broker, database, external)


def _node(stack: ExitStack, data: Path, port: int, settings: dict[str, object]) -> Nodus:
    values = {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}
    environment = {f"NODUS_{name.upper()}": value for name, value in values.items()} | ONE_THREAD
    node = Nodus(data, environment, ("--port", str(port)))
    stack.callback(_end, node)
    node.start()
    return node


def _end(node: Nodus) -> None:
    if node.process is not None:
        end(node.process)
    if "catalog" in node.__dict__:
        node.catalog.close()


def _run(stack: ExitStack, program: Program) -> Program:
    stack.callback(program.stop)
    program.start()
    return program


def storescp(folder: Path, port: int) -> Program:
    """DCMTK's storescp: a new file for each C-STORE, so that what came twice is seen twice."""
    folder.mkdir()
    command = [dcmtk("storescp"), "-od", str(folder), "+B", "+uf", "-aet", folder.name, str(port)]
    return Program(command, folder.with_suffix(".log"), lambda: answers(port), dcmtk_environment())


def _destination(ae_title: str, program: Program) -> dict[str, object]:
    return {"ae_title": ae_title, "host": "127.0.0.1", "port": int(program.command[-1]), "results": ["SEG", "SR"]}


def _redis(stack: ExitStack, folder: Path, port: int) -> tuple[Program, str]:
    folder.mkdir()
    program = Program(redis_command(folder, port), folder.with_suffix(".log"), lambda: pongs(port))
    return _run(stack, program), f"redis://127.0.0.1:{port}/0"


def _postgres(stack: ExitStack, folder: Path, port: int) -> tuple[Program, str]:
    server = Postgres(port)
    command = postgres_command(folder, port)
    program = Program(command, folder.with_suffix(".log"), server.is_ready, stop_with=signal.SIGINT)
    _run(stack, program)
    server.execute("CREATE DATABASE nodus")
    return program, server.url("nodus")


def _worker(node: Nodus, number: int) -> Program:
    """As an administrator starts one on another host."""
    command = [sys.executable, "-m", "celery", "-A", "workers.app", "worker", "--without-gossip", "--without-mingle",
               "-n", f"w{number}@%h"]  # fmt: skip
    told = {**os.environ, **node.environment, "NODUS_DATA": str(node.data), "REMAP_SIGTERM": "SIGQUIT"}
    return Program(command, node.data.with_name(f"worker{number}.log"), environment=told)
