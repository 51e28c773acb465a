"""One receiver process: serves associations on the inherited socket, and tells the node what it did.

It is started before anything else exists (no thread, engine or TLS context), knows SQL only to answer queries, and
ends when the node does: the pipe between them closes.
"""

import logging
import multiprocessing
import os
import resource
import select
import shutil
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from pydicom import config as pydicom_config
from pynetdicom import evt

from node import logs, lookup, services
from node.catalog import commitments, forward_commitments
from node.catalog.session import Catalog
from node.dicom import commit_scu, contexts, statuses
from node.dicom.announce_scp import AnnounceSCP
from node.dicom.commit_scp import CommitSCP
from node.dicom.places import Places
from node.dicom.query_models import on_extended
from node.dicom.query_scp import ForAdmins, QuerySCP
from node.dicom.retrieve_scp import RetrieveSCP
from node.dicom.store_scp import StoreSCP
from node.dicom.store_scu import Patience
from node.dicom.store_sink import Received
from node.domain.commitment import Report
from node.domain.peers import Sender
from node.domain.reception import (
    AssociationOpened,
    AssociationRefused,
    CommitmentReported,
    CommitmentReportRefused,
    CountTold,
    ListeningEvent,
    PromiseAsked,
)
from node.domain.refusals import Refusals
from node.domain.study import Arrival
from node.doors import Doors
from node.errors import Unavailable
from node.flow.answer import Answers
from node.journal import JournalWriter
from node.listening import doors_of, listening_of, require_usable
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
LONGEST_UID = 64
"""Characters (PS3.5 9.1); what is longer is none of ours."""
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


def prepare(settings: Settings) -> None:
    """Make what receivers need; call before the first is started. Raises SettingsError."""
    require_usable(settings)
    places_of(settings).prepare()
    recoded = settings.data.absolute() / "run" / "recoded"
    shutil.rmtree(recoded, ignore_errors=True)  # what a receiver left that was killed
    recoded.mkdir(mode=0o700)


def start(settings: Settings, doors: Doors) -> tuple[SpawnProcess, Connection]:
    """Start a receiver process, which serves once it is told who may send; returns it and our end of the pipe."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_serve, args=(settings.environment(), doors, theirs), name="nodus-receiver", daemon=True
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


def _serve(environment: dict[str, str], doors: Doors, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the node decides when a receiver ends
    os.environ.update(environment)
    _allow_descriptors()
    settings = Settings()
    logs.configure(settings.log_level)
    code = 1
    try:
        _serve_on(settings, doors, pipe)
        code = 0
    except Exception:
        log.exception("a receiver cannot go on")
    finally:
        os._exit(code)  # associations that were aborted may still be inside a library's wait


def _serve_on(settings: Settings, doors: Doors, pipe: Connection) -> None:
    pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE
    teller = _Teller(pipe, JournalWriter(journals_of(settings)), Refusals(settings.refusals_every_s))
    files = spool_of(settings)
    scp = StoreSCP(listening_of(settings), files, places_of(settings), teller.stored, teller.event)
    known = Answers(Catalog(settings.database, b""), files.absolute)
    admins, most = _for_admins(settings), settings.maximum_matches
    asking = QuerySCP(settings.ae_title, known.find, teller.event, scp.may_query, most, admins)
    patience = Patience(answer_s=settings.answer_timeout_s)
    fetching = RetrieveSCP(settings.ae_title, known, files.absolute, teller.event, scp.may_retrieve, patience)
    counting = AnnounceSCP(partial(lookup.state_told, settings), teller.committed, teller.event)
    answers = commit_scu.Reports(lambda *answer: _reported(settings, teller, *answer))
    promising = CommitSCP(scp.commits, teller.committed)
    scp.prepare(
        doors_of(settings, doors),
        contexts.accepted(),
        (
            (evt.EVT_C_GET, fetching.on_get),
            (evt.EVT_C_MOVE, fetching.on_move),
            (evt.EVT_SOP_EXTENDED, on_extended),
            *services.handlers(settings, services.Others(asking, counting, promising), teller.event),
            (evt.EVT_N_EVENT_REPORT, answers.on_report),
        ),
    )
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

    def committed(self, event: CommitmentReported | CountTold | PromiseAsked) -> None:
        """Make what was told to us durable. Raises OSError."""
        self._journal.keep(event)

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


def _reported(settings: Settings, teller: _Teller, caller: str, address: str, report: Report) -> int:
    """An answer of a destination to what it was asked; success once it is in the journal. Raises OSError, or what the
    database raises: then it is not acknowledged, and asked for again."""
    now, uid = datetime.now(UTC), report.transaction_uid[:LONGEST_UID]
    with lookup.reading(settings) as session:
        asked = commitments.asked(session, report.transaction_uid)
        asked = asked or forward_commitments.who(session, report.transaction_uid)
    if asked is None or asked.ae_title != caller:
        status = statuses.INVALID_ARGUMENT if asked is None else statuses.NOT_AUTHORISED
        teller.event(CommitmentReportRefused(caller, address, uid, status, now))
        return status
    known = report.only(asked.sop_instance_uids)
    teller.committed(CommitmentReported(caller, address, uid, known.committed, known.failed, now))
    return statuses.SUCCESS


def _for_admins(settings: Settings) -> ForAdmins:
    return ForAdmins(partial(services.is_admin, settings), partial(services.own_state, settings))
