"""PostgreSQL and Redis."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from tests.peers import require
from tests.servers.processes import free_port, running


class Postgres:
    """One PostgreSQL server; databases are copies of a migrated template."""

    TEMPLATE = "nodus_template"

    def __init__(self, port: int, log: Path = Path(os.devnull)) -> None:
        self.port = port
        self.log = log
        """What it wrote."""
        self.pid = 0
        self._number = 0

    def url(self, database: str) -> str:
        """For SQLAlchemy."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str) -> None:
        """One statement as administrator."""
        with psycopg.connect(host="127.0.0.1", port=self.port, user="postgres", autocommit=True) as connection:
            connection.execute(statement.encode())

    def is_ready(self) -> bool:
        """Whether it takes connections."""
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Every process of it stopped, as on a host that hangs: connections stay open and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)  # first: it forks nothing that would go on
        pids = [self.pid, *(int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split())]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    @contextmanager
    def database(self, template: str = TEMPLATE) -> Iterator[str]:
        """URL of a database of its own; `template1` is empty."""
        self._number += 1
        name = f"nodus_{self._number}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _as_postgres() -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return []
    return [require("setpriv", "util-linux"), "--reuid=postgres", "--regid=postgres", "--clear-groups"]


def _postgres_program(name: str) -> str:
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    return str(versions[-1]) if versions else require(name, "postgresql")


def postgres_command(folder: Path, port: int) -> list[str]:
    """PostgreSQL on a new data folder of its own inside `folder`, which its user can reach."""
    folder.mkdir(mode=0o700)
    if _as_postgres():
        shutil.chown(folder, "postgres", "postgres")
    data = str(folder / "data")
    initdb = [*_as_postgres(), _postgres_program("initdb"), "-D", data, "-A", "trust", "-U", "postgres",
              "-E", "UTF8", "--no-locale", "--no-sync"]  # fmt: skip
    subprocess.run(initdb, check=True, capture_output=True, cwd="/")
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
    command = [*_as_postgres(), _postgres_program("postgres"), "-D", data]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    return command


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """PostgreSQL in a folder that its user can reach."""
    server = Postgres(free_port(), folder.with_suffix(".log"))
    command = postgres_command(folder, server.port)
    with running(command, server.log, ready=server.is_ready, stop_with=signal.SIGINT, cwd="/") as process:
        server.pid = process.pid
        yield server


def redis_command(folder: Path, port: int) -> list[str]:
    """Redis that keeps nothing on disk."""
    return [require("redis-server", "redis"), "--port", str(port), "--bind", "127.0.0.1", "--save", "",
            "--dir", str(folder)]  # fmt: skip


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Redis; gives its URL."""
    port = free_port()
    with running(redis_command(folder, port), folder / "redis.log", ready=lambda: pongs(port)):
        yield f"redis://127.0.0.1:{port}/0"


def pongs(port: int) -> bool:
    """Whether a Redis answers."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
