"""Receives: C-ECHO and C-STORE. A success means that the file survives a power cut."""

import itertools
import logging
import os
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pynetdicom import AE, evt
from pynetdicom.presentation import PresentationContext

from node.dicom import statuses
from node.dicom.places import NoPlace, Place, Places
from node.dicom.store_sink import Received, Sending, Storing
from node.dicom.upper_layer.acceptor import Acceptor
from node.dicom.upper_layer.association import StreamingAssociation
from node.dicom.upper_layer.messages import StoreRequest
from node.domain.peers import Regard, Sender, admits, regard_of
from node.domain.reception import AssociationOpened, AssociationRefused, Ending, ListeningEvent
from node.headers.meta import IMPLEMENTATION_CLASS_UID
from node.spool import Spool

log = logging.getLogger(__name__)

CALLING_AE_TITLE_NOT_RECOGNISED = (0x01, 0x01, 0x03)
CALLED_AE_TITLE_NOT_RECOGNISED = (0x01, 0x01, 0x07)
LOCAL_LIMIT_EXCEEDED = (0x02, 0x03, 0x02)
"""Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
IMPLEMENTATION_VERSION_NAME = "NODUS"


@dataclass(frozen=True)
class Listening:
    """How the node listens."""

    ae_title: str
    maximum_pdu_bytes: int
    request_timeout_s: float
    """A connection that is no association after so long is cut."""
    network_timeout_s: float
    tls: ssl.SSLContext | None = None
    """Set where the port speaks TLS, and nothing else."""


Handlers = Sequence[tuple[evt.EventType, Callable[..., object]]]


class StoreSCP:
    """Serves associations on a bound socket. Knows the spool, the places and two callbacks, no SQL."""

    def __init__(
        self,
        listening: Listening,
        spool: Spool,
        places: Places,
        on_stored: Callable[[Received], None],
        on_event: Callable[[ListeningEvent], None],
    ) -> None:
        self._listening = listening
        self._spool = spool
        self._places = places
        self._on_stored = on_stored
        self._on_event = on_event
        self._senders: tuple[Sender, ...] = ()
        self._acceptor: Acceptor | None = None
        self._numbers = itertools.count(1)
        self._open: dict[StreamingAssociation, tuple[Sending, Place]] = {}
        self._stopped = False
        self._lock = threading.Lock()

    def know(self, senders: Sequence[Sender]) -> None:
        """Replace the table of senders; associations that are open stay open."""
        self._senders = tuple(senders)

    def prepare(self, listener: socket.socket, contexts: list[PresentationContext], handlers: Handlers) -> None:
        """Get ready to serve: from now on `stop` counts. `handlers` serve what is neither C-ECHO nor C-STORE."""
        ae = AE(self._listening.ae_title)
        ae.maximum_pdu_size = self._listening.maximum_pdu_bytes
        ae.maximum_associations = sys.maxsize  # places are counted over all processes
        ae.acse_timeout = self._listening.request_timeout_s
        ae.network_timeout = self._listening.network_timeout_s
        ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        own = (
            (evt.EVT_C_ECHO, lambda _: statuses.SUCCESS),
            (evt.EVT_REQUESTED, self._requested),
        )
        self._acceptor = Acceptor(ae, listener, contexts, self, (*own, *handlers), self._listening.tls)

    def serve(self) -> None:
        """Accept until `stop`."""
        self._prepared.serve()
        self._abort_all()

    def stop(self) -> None:
        """Make `serve` accept nothing more and return, also where it has not begun."""
        self._prepared.stop()

    @property
    def _prepared(self) -> Acceptor:
        assert self._acceptor is not None
        return self._acceptor

    def _abort_all(self) -> None:
        """An instance without an answer is sent again."""
        with self._lock:
            self._stopped = True
            still_open = dict(self._open)
        for association, (sending, _) in still_open.items():
            association.abort(block=False)
            self._on_event(sending.closed(_ending(association)))

    def regard(self, address: str) -> Regard:
        """What to expect of an address; called before anything is read from it."""
        return regard_of(self._senders, address)

    def turned_away(self, address: str, reason: str) -> None:
        """A connection was closed before its caller had named itself."""
        self._on_event(AssociationRefused("", "", address, reason, False, _now()))

    def _requested(self, event: evt.Event) -> None:
        """pynetdicom would take a request whose handler raises for one that is accepted."""
        try:
            self._judge(event.assoc)
        except Exception:
            log.exception("an association request could not be judged: it is refused")
            _refuse(event.assoc, LOCAL_LIMIT_EXCEEDED)

    def _judge(self, association: StreamingAssociation) -> None:
        request = association.requestor.primitive
        address = association.requestor.address
        if not admits(self._senders, request.calling_ae_title, address):
            self._reject(association, CALLING_AE_TITLE_NOT_RECOGNISED, "calling AE title or address not known")
        elif request.called_ae_title != self._listening.ae_title:
            self._reject(association, CALLED_AE_TITLE_NOT_RECOGNISED, "called AE title is not ours")
        else:
            try:
                self._admit(association, self._places.take(address))
            except NoPlace as full:
                self._reject(association, LOCAL_LIMIT_EXCEEDED, str(full))
            except OSError:
                self._reject(association, LOCAL_LIMIT_EXCEEDED, "the data directory cannot be written")

    def _reject(self, association: StreamingAssociation, answer: tuple[int, int, int], reason: str) -> None:
        request = association.requestor.primitive
        unknown = answer == CALLING_AE_TITLE_NOT_RECOGNISED
        address = association.requestor.address
        self._on_event(
            AssociationRefused(request.calling_ae_title, request.called_ae_title, address, reason, unknown, _now())
        )
        _refuse(association, answer)

    def _admit(self, association: StreamingAssociation, place: Place) -> None:
        association.is_admitted = True
        request = association.requestor.primitive
        sending = Sending(
            f"{os.getpid()}-{next(self._numbers)}-{_now():%Y%m%dT%H%M%S%f}",
            request.calling_ae_title,
            request.called_ae_title,
            association.requestor.address,
        )
        with self._lock:
            self._open[association] = sending, place
        self._on_event(AssociationOpened(sending.id, sending.calling_ae_title, sending.address, _now()))

    def open_sink(self, association: StreamingAssociation, request: StoreRequest) -> Storing:
        """Begin one C-STORE."""
        sending, _ = self._open[association]
        return Storing(self._spool, sending, request, self._on_stored, self._on_event)

    def ended(self, association: StreamingAssociation) -> None:
        """Tell how an association ended; one that was refused was never open."""
        with self._lock:
            sending, place = self._open.pop(association, (None, None))
        if sending is not None and place is not None:
            place.leave()
            if not self._stopped:
                self._on_event(sending.closed(_ending(association)))


def _refuse(association: StreamingAssociation, answer: tuple[int, int, int]) -> None:
    association.acse.send_reject(*answer)
    association.is_rejected = True
    association.kill()


def _ending(association: StreamingAssociation) -> Ending:
    return Ending.RELEASED if association.is_released else Ending.ABORTED


def _now() -> datetime:
    return datetime.now(UTC)
