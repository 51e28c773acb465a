"""One receiver process: serves associations on the inherited socket, and tells the node what it did.

It is started before anything else exists (no thread, engine or TLS context), knows SQL only to answer queries, and
ends when the node does: the pipe between them closes.
"""

import logging
import multiprocessing
import os
import resource
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from pydicom import config as pydicom_config
from pynetdicom import evt

from node import logs
from node.catalog import query
from node.catalog.session import Catalog
from node.dicom import contexts, tls
from node.dicom.places import Places
from node.dicom.query_scp import QuerySCP
from node.dicom.store_scp import Listening, StoreSCP
from node.dicom.store_sink import Received
from node.domain.peers import Sender
from node.domain.query import Query, Value
from node.domain.reception import AssociationOpened, AssociationRefused, ListeningEvent
from node.domain.refusals import Refusals
from node.domain.study import Arrival
from node.errors import Unavailable
from node.journal import JournalWriter
from node.settings import Settings
from node.spool import Spool

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Know:
    """To a receiver: the table of senders."""

    senders: tuple[Sender, ...]


@dataclass(frozen=True)
class Stop:
    """To a receiver: end."""


@dataclass(frozen=True)
class Ready:
    """From a receiver: it serves, and a `Stop` counts."""


START_WITHIN_S = 60.0
DESCRIPTORS = 1 << 13
SUMS_EVERY_S = 0.5
"""How often refusals that were summed up are looked at."""


def spool_of(settings: Settings) -> Spool:
    """The spool of a node."""
    return Spool(
        settings.data.absolute(),
        minimum_free_bytes=int(settings.minimum_free_gib * 2**30),
        minimum_free_fraction=settings.minimum_free_fraction,
    )


def journals_of(settings: Settings) -> Path:
    """Folder of the journals of a node."""
    return settings.data.absolute() / "spool" / "journal"


def places_of(settings: Settings) -> Places:
    """The places for associations of a node."""
    folder = settings.data.absolute() / "run" / "associations"
    return Places(folder, settings.maximum_associations, settings.maximum_associations_per_peer)


def listening_of(settings: Settings) -> Listening:
    """How a node listens. Raises SettingsError where its TLS files are none."""
    context = None
    if settings.tls_certificate and settings.tls_key:
        context = tls.server_context(settings.tls_certificate, settings.tls_key)
    return Listening(
        settings.ae_title,
        settings.maximum_pdu_bytes,
        settings.request_timeout_s,
        settings.network_timeout_s,
        context,
    )


def prepare(settings: Settings) -> None:
    """Make what receivers need; call before the first is started. Raises SettingsError."""
    listening_of(settings)
    places_of(settings).prepare()


def start(settings: Settings, listener: socket.socket) -> tuple[SpawnProcess, Connection]:
    """Start a receiver process, which serves once it is told who may send; returns it and our end of the pipe."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_serve, args=(settings.environment(), listener, theirs), name="nodus-receiver", daemon=True
    )
    process.start()
    theirs.close()
    return process, ours


def wait_until_ready(pipe: Connection) -> None:
    """Return when the receiver at the other end serves. Raises Unavailable when it does not."""
    try:
        ready = pipe.poll(START_WITHIN_S) and isinstance(pipe.recv(), Ready)
    except (EOFError, OSError):  # a receiver that dies with something unread resets the pipe
        ready = False
    if not ready:
        raise Unavailable("A receiver process did not start; the log has the reason.")


def has_room(pipe: Connection) -> bool:
    """Whether the receiver at the other end has read most of what it was told: another message would not wait."""
    poll = select.poll()
    poll.register(pipe.fileno(), select.POLLOUT)
    return bool(poll.poll(0))


def _serve(environment: dict[str, str], listener: socket.socket, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the node decides when a receiver ends
    os.environ.update(environment)
    _allow_descriptors()
    settings = Settings()
    logs.configure(settings.log_level)
    code = 1
    try:
        _serve_on(settings, listener, pipe)
        code = 0
    except Exception:
        log.exception("a receiver cannot go on")
    finally:
        os._exit(code)  # associations that were aborted may still be inside a library's wait


def _serve_on(settings: Settings, listener: socket.socket, pipe: Connection) -> None:
    pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE
    teller = _Teller(pipe, JournalWriter(journals_of(settings)), Refusals(settings.refusals_every_s))
    scp = StoreSCP(listening_of(settings), spool_of(settings), places_of(settings), teller.stored, teller.event)
    asking = QuerySCP(settings.ae_title, lambda wanted: _find(settings, wanted), teller.event)
    scp.prepare(listener, contexts.accepted(), ((evt.EVT_C_FIND, asking.on_find),))
    first = _first(pipe)
    if first is None:
        return
    scp.know(first.senders)
    threading.Thread(target=_obey, args=(pipe, scp), daemon=True).start()
    threading.Thread(target=teller.keep, daemon=True).start()
    teller.ready()
    scp.serve()
    teller.end()


def _first(pipe: Connection) -> Know | None:
    """Who may send; None where the node ends, or dies, before it says so. Until then callers wait to be accepted."""
    with suppress(EOFError, OSError):
        message = pipe.recv()
        return message if isinstance(message, Know) else None
    return None


def _allow_descriptors() -> None:
    """An association takes seven; many systems begin with 1024 although they allow more."""
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if most == resource.RLIM_INFINITY else min(DESCRIPTORS, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(least, wanted), most))


class _Teller:
    """Tells what happened: up the pipe what the node follows, in the journal what must not be lost."""

    def __init__(self, pipe: Connection, journal: JournalWriter, refusals: Refusals) -> None:
        self._pipe = pipe
        self._journal = journal
        self._refusals = refusals
        self._lock = threading.Lock()
        """Several associations share the pipe and the sums."""

    def ready(self) -> None:
        self._send(Ready())

    def stored(self, received: Received) -> None:
        stored = received.stored
        self._send(Arrival(received.header, received.reception, stored.path, stored.digest, stored.size))

    def event(self, event: ListeningEvent) -> None:
        if isinstance(event, AssociationRefused):
            with self._lock:
                told = self._refusals.take(event, time.monotonic())
            if told is not None:
                self._journal.write(told)
        elif not isinstance(event, AssociationOpened):
            self._journal.write(event)
        self._send(event)

    def keep(self) -> None:
        """Sync the journal off the way of the answers, and write sums when they are due; for ever."""
        while True:
            self._journal.sync(wait_s=SUMS_EVERY_S)
            with self._lock:
                due = list(self._refusals.due(time.monotonic()))
            for summed in due:
                self._journal.write(summed)

    def end(self) -> None:
        """Write what is summed up, and close the journal."""
        with self._lock:
            rest = list(self._refusals.rest())
        for summed in rest:
            self._journal.write(summed)
        self._journal.close()

    def _send(self, message: Ready | Arrival | ListeningEvent) -> None:
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
