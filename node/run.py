"""The data's way, wired: builds every part once and starts the loops in order.

An association leaves spool files; each file becomes a catalog row; a complete series gets a job; a worker reads the
volume, detects, segments, classifies, writes SR and SEG, and puts them in the outbox, from which they are delivered to
the PACS. Every step leaves an audit row.
"""

import fcntl
import json
import logging
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

from pynetdicom import _config as pynetdicom_config
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from node.audit.anchor import Anchors, load_or_make_key
from node.catalog import audit, installation, jobs, outbox, peers
from node.catalog.session import Catalog
from node.children import ReceiverPool, WorkerChild, worker_of
from node.dicom import store_scu
from node.domain.audit import Event, EventKind
from node.domain.peers import Sender
from node.domain.reception import OpenAssociations
from node.errors import DataDirectoryInUse, SettingsError
from node.flow import complete, deliver, enqueue, register, release
from node.flow.listen import Listener
from node.flow.loop import Loop
from node.metrics import Metrics
from node.queue import JobQueue
from node.receiver import spool_of
from node.settings import Settings
from node.spool import Spool
from node.web.app import WebServer, application

log = logging.getLogger(__name__)

STOP_WITHIN_S = 8.0
TURN_WITHIN_S = 3.0
"""A turn that takes longer waits for a peer, and is left alone: what it does is done again."""
LAST_MOMENT_S = 0.1
ANCHOR_EVERY_S = 60.0
REGISTER_EVERY_S = 0.1
"""Files that come within this time share one transaction."""


def private_folder(data: Path) -> None:
    """Make a data directory where there is none, and close it to others. Raises SettingsError."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        if data.stat().st_mode & 0o077:
            data.chmod(0o700)
    except OSError as error:
        raise SettingsError(
            f"The data directory {data} cannot be used ({_reason(error)}); choose another --data."
        ) from None


def catalog_of(settings: Settings) -> Catalog:
    """The catalog of a data directory. Creates the directory and the audit key where they are missing."""
    private_folder(settings.data)
    return Catalog(settings.database, load_or_make_key(settings.data / "audit.key"))


def has_catalog(settings: Settings) -> bool:
    """Whether a node has ever run on a data directory."""
    made = [settings.data / "audit.key"] + [settings.data / "nodus.db"] * (not settings.database_url)
    return all(path.exists() for path in made)


def anchors_of(settings: Settings) -> Anchors:
    """Where the head of the audit chain is written outside the database."""
    return Anchors(settings.data / "audit.anchors")


@contextmanager
def only_node(data: Path) -> Iterator[None]:
    """Hold the lock of a data directory. Raises DataDirectoryInUse."""
    private_folder(data)
    with _lock_file(data) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataDirectoryInUse(f"A node is running on {data} already; stop it, or use another --data.") from None
        yield


def _lock_file(data: Path) -> BinaryIO:
    try:
        return (data / "nodus.lock").open("ab")
    except OSError as error:
        raise SettingsError(
            f"The data directory {data} cannot be written ({_reason(error)}); choose another --data."
        ) from None


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else "not possible"


def bind(host: str, port: int, setting: str) -> socket.socket:
    """A listening socket. Raises SettingsError when the address cannot be had."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        raise SettingsError(f"Cannot listen on {host}:{port} ({_reason(error)}); choose another {setting}.") from None


@dataclass
class Node:
    """Every part of a running node."""

    settings: Settings
    catalog: Catalog
    receivers: ReceiverPool
    listener: Listener
    web: WebServer
    loops: list[Loop]
    worker: WorkerChild | None
    anchors: Anchors
    register: Callable[[], bool]
    """Registers a batch of what receivers told before they ended; True while there is more."""
    stopping: threading.Event = field(default_factory=threading.Event)

    def anchor(self) -> bool:
        """Write the head of the audit chain down."""
        with self.catalog.reading() as session:
            head = audit.head(session)
        self.anchors.add(head)
        return False

    def record(self, kind: EventKind) -> None:
        """Write down that the node itself did something."""
        with self.catalog.writing() as session:
            audit.append(session, Event(kind, detail={"pid": os.getpid()}))

    def stop(self) -> None:
        """End in the order of the data's way, so that everything that came is registered."""
        deadline = time.monotonic() + STOP_WITHIN_S
        left = partial(_seconds_left, deadline)
        if self.worker:
            self.worker.terminate()
        self.receivers.stop(min(3.0, left()))
        for loop in self.loops:
            loop.finish()
        for loop in self.loops:
            loop.stop(min(TURN_WITHIN_S, left()))
        if self.worker:
            self.worker.wait(left())
        self.web.stop(min(1.0, left()))
        try:
            while (self.register() or self.listener.step()) and left() > LAST_MOMENT_S:
                pass
            self.record(EventKind.NODE_STOPPED)
            self.anchor()
        except SQLAlchemyError as error:
            log.error("the database does not answer at the end", extra={"error": type(error).__name__})
        self.catalog.close()


def _seconds_left(deadline: float) -> float:
    return max(LAST_MOMENT_S, deadline - time.monotonic())


def up(settings: Settings, announce: Callable[[str], None]) -> None:
    """Run a node until SIGTERM or SIGINT; `announce` gets the READY line when it serves."""
    os.umask(0o077)  # what patients tell us is nobody else's to read
    with only_node(settings.data):
        dicom = bind(settings.host, settings.port, "--port")
        page = bind(settings.host, settings.web_port, "--web-port")
        node = build(settings, dicom, page)
        signal.signal(signal.SIGTERM, lambda *_: node.stopping.set())
        signal.signal(signal.SIGINT, lambda *_: node.stopping.set())
        announce("READY " + json.dumps({
            "dicom_port": dicom.getsockname()[1],
            "web_port": page.getsockname()[1],
            "aet": settings.ae_title,
            "data": str(settings.data.absolute()),
        }))  # fmt: skip
        node.stopping.wait()
        node.stop()
        logging.shutdown()
        os._exit(0)  # an association with a destination may still be inside a library's wait


def build(settings: Settings, dicom: socket.socket, page: socket.socket) -> Node:
    """Start everything, receivers first: they are born before any thread, engine or TLS context exists."""
    spool = spool_of(settings)
    spool.prepare()
    configured = tuple(each.sender() for each in settings.senders)
    receivers = ReceiverPool(settings, dicom, configured)
    pynetdicom_config.STORE_SEND_CHUNKED_DATASET = True  # results leave as the bytes on disk
    catalog = catalog_of(settings)
    catalog.migrate()
    with catalog.writing() as session:
        installation.make(session)
        peers.configure_senders(session, configured)
        peers.configure_destinations(session, [each.destination() for each in settings.destinations])
    metrics, inbox, associations = Metrics(), register.Inbox(), OpenAssociations()
    listener = Listener(catalog, inbox, associations, metrics)
    worker = worker_of(settings)
    loops: list[Loop] = []
    web = _web(catalog, loops, metrics, page)
    rest = partial(_register_rest, catalog, spool, inbox)
    node = Node(settings, catalog, receivers, listener, web, loops, worker, anchors_of(settings), rest)
    loops += _loops(node, inbox, associations)
    receivers.listen(listener)
    node.record(EventKind.NODE_STARTED)
    for loop in node.loops:
        loop.start()
    node.web.start()
    if worker:
        worker.start()
    return node


def _loops(node: Node, inbox: register.Inbox, associations: OpenAssociations) -> list[Loop]:
    """The arrows of the data's way, in its order."""
    catalog, settings = node.catalog, node.settings
    spool = spool_of(settings)
    clock = complete.Clock(_now, inbox.registered_until, listening_since=_now())
    queue = JobQueue(settings.broker_url, settings.data.absolute())
    with catalog.reading() as session:
        known = peers.destinations(session)
    connect = partial(store_scu.connected, settings.ae_title)
    deliveries = [
        deliver.Delivery(catalog, each, connect, spool.absolute, random.Random(each.id), _now) for each in known
    ]
    sending = [Loop(f"deliver {each.to.destination.ae_title}", each.step, 0.5) for each in deliveries]
    releasing = Loop("release", lambda: release.step(catalog, _now()), 0.5, then=sending)
    enqueuing = Loop("enqueue", lambda: enqueue.step(catalog, queue.publish, _now()), 0.5)
    completing = partial(complete.step, catalog, associations, clock)
    return [
        Loop("listen", node.listener.step, 0.2),
        Loop("register", lambda: register.step(catalog, spool, inbox), REGISTER_EVERY_S),
        Loop("complete", completing, 0.3, then=[enqueuing, releasing]),
        enqueuing,
        releasing,
        *sending,
        Loop("senders", lambda: node.receivers.know_again(_senders(catalog)), 1.0),
        Loop("receivers", node.receivers.replace_the_lost, 0.5),
        *([Loop("worker", node.worker.keep, 0.5)] if node.worker else []),
        Loop("anchor", node.anchor, ANCHOR_EVERY_S),
    ]


def _register_rest(catalog: Catalog, spool: Spool, inbox: register.Inbox) -> bool:
    """What an unfinished look at the whole spool did not reach is found at the next start."""
    return inbox.incomplete_since is None and register.step(catalog, spool, inbox)


def _now() -> datetime:
    return datetime.now(UTC)


def _senders(catalog: Catalog) -> tuple[Sender, ...]:
    with catalog.reading() as session:
        return tuple(peers.senders(session))


def _web(catalog: Catalog, loops: list[Loop], metrics: Metrics, page: socket.socket) -> WebServer:
    """The web port, over live values."""

    def count(query: Callable[[Session], dict[str, int]]) -> dict[str, int]:
        with catalog.reading() as session:
            return query(session)

    def checks() -> dict[str, str]:
        state = {loop.name: "ok" if not loop.failures else f"failed {loop.failures} times in a row" for loop in loops}
        try:
            count(jobs.count_by_state)
        except SQLAlchemyError as error:
            return {**state, "database": f"does not answer ({type(error).__name__})"}
        return {**state, "database": "ok"}

    def shown(query: Callable[[Session], dict[str, int]]) -> dict[str, int]:
        try:
            return count(query)
        except SQLAlchemyError:
            return {}  # /readyz says why; the other metrics go on

    metrics.watch("nodus_jobs", "Jobs by state", partial(shown, jobs.count_by_state))
    metrics.watch("nodus_results", "Results to deliver, by state", partial(shown, outbox.count_by_state))
    failures = "Failed turns in a row of a loop of the flow"
    metrics.watch("nodus_loop_failures", failures, lambda: {loop.name: loop.failures for loop in loops}, label="loop")
    return WebServer(application(checks, metrics.registry), page)
