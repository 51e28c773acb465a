"""The data's way, wired: builds every part once and starts the loops in order.

An association leaves spool files; each file becomes a catalog row; a complete series gets a job; a worker reads the
volume, detects, segments, classifies, writes SR and SEG, and puts them in the outbox, from which they are delivered to
the PACS. Every step leaves an audit row.
"""

import json
import logging
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from pynetdicom import _config as pynetdicom_config
from sqlalchemy.exc import SQLAlchemyError

from node.audit.anchor import Anchors
from node.catalog import ahead, audit, control, installation
from node.catalog.session import Catalog
from node.children import ReceiverPool, WorkerChild, worker_of
from node.deadline import Asking
from node.directory import anchors_of, catalog_of, disk_of, only_node, removing_files, require_home, usable
from node.domain.audit import Event, EventKind
from node.domain.delivery import LONGEST_WAIT
from node.domain.lease import LeaseWatch
from node.domain.reception import OpenAssociations
from node.doors import Doors, bind, open_doors
from node.flow import (
    alert,
    complete,
    counts,
    destinations,
    enqueue,
    missing,
    outgoing,
    promise,
    register,
    release,
    senders,
    sweep,
    tell,
)
from node.flow import forward_audit as auditing
from node.flow import messages as messaging
from node.flow.clock import Clock, steady_s
from node.flow.forward import loops as forwarding_loops
from node.flow.inbox import Inbox
from node.flow.listen import Listener
from node.flow.loop import Loop
from node.flow.prefetch import prior_loops, prior_wait
from node.flow.retain import Retain
from node.flow.routing import Router, Rules, book_of
from node.listening import CERTIFICATES, end_times, endings
from node.metrics import Metrics
from node.queue import JobQueue
from node.receiver import journals_of, spool_of
from node.settings import Settings
from node.spool import Spool
from node.web.app import WebServer
from node.web.live import server
from node.webhook import Webhook

log = logging.getLogger(__name__)

STOP_WITHIN_S = 7.0
"""For everything but the last writes; with them it ends within the ten seconds that supervisors grant."""
TURN_WITHIN_S = 3.0
"""Turns that take longer wait for a peer, and are left alone: what they do is done again."""
LAST_WRITES_WITHIN_S = 2.0
LAST_MOMENT_S = 0.02
ANCHOR_EVERY_S = 60.0
RETAIN_EVERY_S = 60.0
WATCH_EVERY_S = 5.0
SWEEP_EVERY_S = 60.0
DISK_WITHIN_S = 2.0
REGISTER_EVERY_S = 0.1
"""Files that come within this time share one transaction."""


@dataclass
class Node:
    """Every part of a running node."""

    settings: Settings
    catalog: Catalog
    receivers: ReceiverPool
    senders: senders.Senders
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
        turns = partial(_seconds_left, min(deadline, time.monotonic() + TURN_WITHIN_S))
        for loop in self.loops:
            loop.stop(turns())
        if self.worker:
            self.worker.wait(left())
        self.web.stop(min(1.0, left()))
        try:
            Asking("last").ask(self._last_writes, LAST_WRITES_WITHIN_S)
        except (SQLAlchemyError, OSError) as error:
            log.error("the database does not answer at the end", extra={"error": type(error).__name__})

    def _last_writes(self) -> None:
        until = time.monotonic() + LAST_WRITES_WITHIN_S / 2  # what is not registered now is found at the next start
        while (self.register() or self.listener.step()) and time.monotonic() < until:
            pass
        self.record(EventKind.NODE_STOPPED)
        self.anchor()
        self.catalog.close()


def _seconds_left(deadline: float) -> float:
    return max(LAST_MOMENT_S, deadline - time.monotonic())


def up(settings: Settings, announce: Callable[[str], None], read_again: Callable[[], Settings]) -> None:
    """Run a node until SIGTERM or SIGINT; `announce` gets the READY line when it serves.

    SIGHUP reads the senders of the settings again; where the node runs in a terminal, it ends with that as ever.
    """
    os.umask(0o077)  # what patients tell us is nobody else's to read
    with only_node(settings.data):
        doors = open_doors(settings)
        page = bind(settings.host, settings.web_port, "--web-port")
        node = build(settings, doors, page, read_again)
        signal.signal(signal.SIGTERM, lambda *_: node.stopping.set())
        signal.signal(signal.SIGINT, lambda *_: node.stopping.set())
        if not (sys.stdin and sys.stdin.isatty()):
            signal.signal(signal.SIGHUP, lambda *_: node.senders.read_again())
        announce("READY " + json.dumps({
            **doors.ports(),
            "web_port": page.getsockname()[1],
            "aet": settings.ae_title,
            "data": str(settings.data.absolute()),
        }))  # fmt: skip
        node.stopping.wait()
        node.stop()
        logging.shutdown()
        os._exit(0)  # an association with a destination may still be inside a library's wait


def build(settings: Settings, doors: Doors, page: socket.socket, read_again: Callable[[], Settings]) -> Node:
    """Start everything, receivers first: they are born before any thread, engine or TLS context exists."""
    begun_at, spool = _now(), spool_of(settings)
    with usable(settings.data):
        spool.prepare()
    configured, router = settings.all_senders(), Router(book_of(settings), spool.absolute)
    receivers = ReceiverPool(settings, doors)
    pynetdicom_config.STORE_SEND_CHUNKED_DATASET = True  # results leave as the bytes on disk
    with usable(settings.data):
        require_home(settings)
        catalog = catalog_of(settings)
    catalog.migrate()
    with catalog.writing() as session:
        serial = installation.make(session)
        installation.require_own(settings.data, serial)
        ahead.bring_back(session, begun_at, 2 * LONGEST_WAIT)  # the clock may have been set back since we ran
        control.end_drain(session, "node", _now())  # whoever starts a node wants it to work
        senders.configure(session, configured)
        auditing.configure(session, settings)
        destinations.configure(session, settings.all_destinations())
    with usable(settings.data):
        installation.own(settings.data, serial)
    metrics, inbox, associations = Metrics(), Inbox(), OpenAssociations()
    listener = Listener(catalog, journals_of(settings), inbox, associations, metrics)
    worker = worker_of(settings)
    loops: list[Loop] = []
    metrics.watch(*CERTIFICATES, partial(end_times, settings), label="file")
    web = server(catalog, loops, metrics, page)
    rest = partial(_register_rest, catalog, spool, inbox)
    known = senders.Senders(catalog, receivers.know_again, Rules(settings, router, read_again).senders)
    node = Node(settings, catalog, receivers, known, listener, web, loops, worker, anchors_of(settings), rest)
    loops += _loops(node, inbox, associations, router)
    receivers.listen(listener, known.known())  # as SQL has them: the operator's decisions are there
    node.record(EventKind.NODE_STARTED)
    for loop in node.loops:
        loop.start()
    node.web.start()
    if worker:
        worker.start()
    return node


def _loops(node: Node, inbox: Inbox, associations: OpenAssociations, router: Router) -> list[Loop]:
    """The arrows of the data's way, in its order."""
    catalog, settings = node.catalog, node.settings
    spool = spool_of(settings)
    clock = Clock(_now, inbox.registered_until, listening_since=_now(), steady_s=time.monotonic)
    queue = JobQueue(settings.broker_url, settings.data.absolute())
    sending, confirming = outgoing.loops(catalog, settings, spool.absolute, _now)
    telling = messaging.loops(catalog, settings, spool.absolute, _now)
    releasing = Loop("release", lambda: release.step(catalog, _now()), 0.5, then=[*sending, *telling])
    enqueuing = Loop("enqueue", lambda: enqueue.step(catalog, queue.publish), 0.5)
    reclaiming = partial(enqueue.reclaim, catalog, LeaseWatch(settings.lease_s))
    alone = partial(removing_files, settings.data)
    retaining = Retain(catalog, spool, settings.data, settings.retention, alone, _now, steady_s)
    prefetching = prior_loops(settings, catalog, enqueuing)
    judging = partial(complete.step, catalog, associations, clock, router, prior_wait(settings))
    forwarding = forwarding_loops(catalog, settings, spool.absolute)
    completing = Loop("complete", judging, 0.3, [*prefetching, enqueuing, releasing, *forwarding])
    return [
        Loop("listen", node.listener.step, 0.2),
        Loop("register", lambda: register.step(catalog, spool, inbox), REGISTER_EVERY_S),
        completing,
        *prefetching,
        *missing.loops(settings, catalog),
        enqueuing,
        Loop("reclaim", reclaiming, 0.5, then=[enqueuing]),
        releasing,
        *sending,
        *telling,
        *confirming,
        *forwarding,
        *tell.loops(catalog, settings, _now),
        counts.counting(catalog, settings, then=completing),
        promise.answering(catalog, settings, inbox.known_until),
        Loop("senders", node.senders.step, 1.0),
        Loop("receivers", node.receivers.replace_the_lost, 0.5),
        *([Loop("worker", node.worker.keep, 0.5)] if node.worker else []),
        Loop("sweep", sweep.Sweep(catalog, settings.data / "results").step, SWEEP_EVERY_S),
        Loop("anchor", node.anchor, ANCHOR_EVERY_S),
        *auditing.loops(catalog, settings, _now),
        Loop("retain", retaining.step, RETAIN_EVERY_S),
        *_watching(node, inbox),
    ]


def _watching(node: Node, inbox: Inbox) -> list[Loop]:
    """What needs a person is found, and told."""
    catalog, settings = node.catalog, node.settings
    watch = alert.Watch(
        catalog,
        partial(Asking("disk").ask, partial(disk_of, settings), DISK_WITHIN_S),
        lambda: [(each.name, each.failures, each.hangs) for each in node.loops],
        damaged=lambda: len(inbox.damaged),
        certificates=partial(endings, settings),
    )
    tell = alert.Telling(catalog, Webhook(settings.alert_webhook_url).post, settings.ae_title, random.Random(), _now)
    telling = [Loop("webhook", tell.step, 1.0)] if settings.alert_webhook_url else []
    return [Loop("alerts", watch.step, WATCH_EVERY_S, then=telling), *telling]


def _register_rest(catalog: Catalog, spool: Spool, inbox: Inbox) -> bool:
    """What an unfinished look at the whole spool did not reach is found at the next start."""
    return inbox.incomplete_since is None and register.step(catalog, spool, inbox)


def _now() -> datetime:
    return datetime.now(UTC)
