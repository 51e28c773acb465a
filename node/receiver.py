"""One receiver process: serves associations on the inherited socket, and tells the node what it did.

It is started before anything else exists (no thread, engine or TLS context), knows SQL only to answer queries, and
ends when the node does: the pipe between them closes.
"""

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from pydicom import config as pydicom_config
from pynetdicom import evt

from node import logs
from node.catalog import query
from node.catalog.session import Catalog
from node.dicom import contexts
from node.dicom.query_scp import QuerySCP
from node.dicom.store_scp import Listening, Received, StoreSCP
from node.domain.peers import Sender
from node.domain.query import Query, Value
from node.domain.reception import ListeningEvent
from node.domain.study import Arrival
from node.errors import Unavailable
from node.settings import Settings
from node.spool import Spool


@dataclass(frozen=True)
class Know:
    """To a receiver: the table of senders."""

    senders: tuple[Sender, ...]


@dataclass(frozen=True)
class Stop:
    """To a receiver: end."""


@dataclass(frozen=True)
class Ready:
    """From a receiver: it serves."""


START_WITHIN_S = 60.0


def spool_of(settings: Settings) -> Spool:
    """The spool of a node."""
    return Spool(
        settings.data.absolute(),
        minimum_free_bytes=int(settings.minimum_free_gib * 2**30),
        minimum_free_fraction=settings.minimum_free_fraction,
    )


def start(settings: Settings, listener: socket.socket, senders: tuple[Sender, ...]) -> tuple[SpawnProcess, Connection]:
    """Start a receiver process; returns it and the node's end of the pipe."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_serve, args=(settings.environment(), listener, theirs), name="nodus-receiver", daemon=True
    )
    process.start()
    theirs.close()
    ours.send(Know(senders))
    return process, ours


def wait_until_ready(pipe: Connection) -> None:
    """Return when the receiver at the other end serves. Raises Unavailable when it does not."""
    try:
        ready = pipe.poll(START_WITHIN_S) and isinstance(pipe.recv(), Ready)
    except EOFError:
        ready = False
    if not ready:
        raise Unavailable("A receiver process did not start; the log has the reason.")


def _serve(environment: dict[str, str], listener: socket.socket, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the node decides when a receiver ends
    os.environ.update(environment)
    settings = Settings()
    logs.configure(settings.log_level)
    pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE
    teller = _Teller(pipe)
    scp = StoreSCP(
        Listening(
            settings.ae_title, settings.maximum_pdu_bytes, settings.maximum_associations, settings.network_timeout_s
        ),
        spool_of(settings),
        teller.stored,
        teller.event,
    )
    first = pipe.recv()
    scp.know(first.senders)
    threading.Thread(target=_obey, args=(pipe, scp), daemon=True).start()
    asking = QuerySCP(settings.ae_title, lambda wanted: _find(settings, wanted), teller.event)
    pipe.send(Ready())
    scp.serve(listener, contexts.accepted(), ((evt.EVT_C_FIND, asking.on_find),))
    os._exit(0)  # associations that were aborted may still be inside a library's wait


class _Teller:
    """Sends what happened up the pipe; several associations share it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def stored(self, received: Received) -> None:
        stored = received.stored
        self._send(Arrival(received.header, received.reception, stored.path, stored.digest, stored.size))

    def event(self, event: ListeningEvent) -> None:
        self._send(event)

    def _send(self, message: Arrival | ListeningEvent) -> None:
        with self._lock, suppress(OSError):  # the node has gone: the spool keeps what it must know
            self._pipe.send(message)


def _obey(pipe: Connection, scp: StoreSCP) -> None:
    """Follow the node's messages; its end, or its death, is ours."""
    with suppress(EOFError, OSError):
        while isinstance(message := pipe.recv(), Know):
            scp.know(message.senders)
    scp.stop()


def _find(settings: Settings, wanted: Query) -> Iterator[Mapping[str, Value]]:
    catalog = Catalog(settings.database, b"")
    try:
        with catalog.reading() as session:
            yield from query.find(session, wanted)
    finally:
        catalog.close()
