"""Receives: C-ECHO and C-STORE. A success means that the file survives a power cut."""

import itertools
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from pynetdicom import AE, evt
from pynetdicom.presentation import PresentationContext

from node.dicom import statuses
from node.dicom.contexts import worklist
from node.dicom.places import NoPlace, Place, Places
from node.dicom.store_sink import Received, Sending, Storing
from node.dicom.trust import Doubt, Trust, UserInDoubt, accepted
from node.dicom.upper_layer.acceptor import Acceptor, Door
from node.dicom.upper_layer.association import StreamingAssociation
from node.dicom.upper_layer.messages import StoreRequest
from node.domain.peers import Regard, Sender, Standing, regard_of, standing_of
from node.domain.reception import AssociationOpened, AssociationRefused, Ending, ListeningEvent, Wish
from node.headers.meta import IMPLEMENTATION_CLASS_UID
from node.spool import Spool

log = logging.getLogger(__name__)

CALLING_AE_TITLE_NOT_RECOGNISED = (0x01, 0x01, 0x03)
CALLED_AE_TITLE_NOT_RECOGNISED = (0x01, 0x01, 0x07)
LOCAL_LIMIT_EXCEEDED = (0x02, 0x03, 0x02)
USER_NOT_PROVEN = (0x01, 0x02, 0x01)
"""Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
NOT_KNOWN = "calling AE title or address not known"
IMPLEMENTATION_VERSION_NAME = "NODUS"
LONGEST_UID = 64
"""Characters (PS3.5 9.1)."""


@dataclass(frozen=True)
class Listening:
    """How the node listens."""

    ae_title: str
    maximum_pdu_bytes: int
    request_timeout_s: float
    """A connection that is no association after so long is cut."""
    network_timeout_s: float
    trust: Trust = field(default_factory=Trust)
    worklist_ae_title: str = ""
    """Under this title only the worklist is served; empty: there is none."""
    also: frozenset[str] = frozenset()
    """AE titles that are ours, too."""

    def is_called(self, ae_title: str) -> bool:
        """Whether that is one of our AE titles."""
        return bool(ae_title) and (ae_title in (self.ae_title, self.worklist_ae_title) or ae_title in self.also)


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

    def may_query(self, event: evt.Event) -> bool:
        """Whether the C-FIND of a requestor is answered."""
        sender = self._caller(event.assoc)
        return sender is not None and sender.may_query

    def may_retrieve(self, event: evt.Event) -> bool:
        """Whether the C-MOVE or C-GET of a requestor is answered."""
        sender = self._caller(event.assoc)
        return sender is not None and sender.may_retrieve

    def _caller(self, association: StreamingAssociation) -> Sender | None:
        """The decision about a requestor as it is now; None where it is no longer known."""
        requestor = association.requestor
        return standing_of(self._senders, requestor.primitive.calling_ae_title, requestor.address)

    def prepare(self, doors: Sequence[Door], contexts: list[PresentationContext], handlers: Handlers) -> None:
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
        self._acceptor = Acceptor(ae, doors, contexts, self, (*own, *handlers))

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

    def commits(self, ae_title: str, address: str) -> bool:
        """Whether the table of senders lets a caller ask for storage commitment."""
        sender = standing_of(self._senders, ae_title, address)
        return sender is not None and sender.commitment_port > 0

    def regard(self, address: str) -> Regard:
        """What to expect of an address; called before anything is read from it."""
        return regard_of(self._senders, address)

    def turned_away(self, address: str, reason: str, *, alarming: bool = False) -> None:
        """A connection was closed before its caller had named itself; `alarming` where it could not prove itself."""
        self._on_event(AssociationRefused("", "", address, reason, False, _now(), alarming=alarming))

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
        sender = standing_of(self._senders, request.calling_ae_title, address)
        if sender is None or sender.standing is not Standing.ALLOWED:
            self._reject_unknown(association)
        elif sender.tls_required and not association.is_secured:
            self._reject(association, CALLING_AE_TITLE_NOT_RECOGNISED, "this sender is heard over TLS alone")
        elif not self._listening.is_called(request.called_ae_title):
            self._reject(association, CALLED_AE_TITLE_NOT_RECOGNISED, "called AE title is not ours")
        elif not sender.may_call(request.called_ae_title):
            self._reject(association, CALLED_AE_TITLE_NOT_RECOGNISED, "this sender may not call this AE title")
        elif self._believes(association, sender):
            if request.called_ae_title == self._listening.worklist_ae_title:
                association.acceptor.supported_contexts = worklist()
            self._admit_where_there_is_room(association)

    def _admit_where_there_is_room(self, association: StreamingAssociation) -> None:
        try:
            self._admit(association, self._places.take(association.requestor.address))
        except NoPlace as full:
            self._reject(association, LOCAL_LIMIT_EXCEEDED, str(full))
        except OSError:
            self._reject(association, LOCAL_LIMIT_EXCEEDED, "the data directory cannot be written")

    def _reject_unknown(self, association: StreamingAssociation) -> None:
        """Nobody has decided about it, or somebody against it: what it asked for is told to who decides."""
        refused = _refusal(association, NOT_KNOWN)
        self._on_event(replace(refused, unknown_caller=True, wish=_wish(association)))
        _refuse(association, CALLING_AE_TITLE_NOT_RECOGNISED)

    def _believes(self, association: StreamingAssociation, sender: Sender) -> bool:
        """Whether a caller has proven what it says; rejects it where not."""
        trust, title = self._listening.trust, association.requestor.primitive.calling_ae_title
        identity = association.requestor.user_identity
        try:
            trust.certified(association, sender)
            association.user = trust.user(association, title, identity)
        except UserInDoubt as doubt:
            self._reject(association, USER_NOT_PROVEN, str(doubt), alarming=True)
            return False
        except Doubt as doubt:
            self._reject(association, CALLING_AE_TITLE_NOT_RECOGNISED, str(doubt), alarming=True)
            return False
        if association.user and identity.positive_response_requested:
            association.acceptor.add_negotiation_item(accepted())
        return True

    def _reject(
        self, association: StreamingAssociation, answer: tuple[int, int, int], reason: str, *, alarming: bool = False
    ) -> None:
        self._on_event(replace(_refusal(association, reason), alarming=alarming))
        _refuse(association, answer)

    def _admit(self, association: StreamingAssociation, place: Place) -> None:
        association.is_admitted = True
        request = association.requestor.primitive
        sending = Sending(
            f"{os.getpid()}-{next(self._numbers)}-{_now():%Y%m%dT%H%M%S%f}",
            request.calling_ae_title,
            request.called_ae_title,
            association.requestor.address,
            association.is_secured,
            user=association.user,
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


def _refusal(association: StreamingAssociation, reason: str) -> AssociationRefused:
    request, address = association.requestor.primitive, association.requestor.address
    return AssociationRefused(request.calling_ae_title, request.called_ae_title, address, reason, False, _now())


def _wish(association: StreamingAssociation) -> Wish:
    """What a caller asked for, in characters that can be shown: it may have sent any bytes."""
    request, user = association.requestor.primitive, association.requestor
    contexts = request.presentation_context_definition_list or []
    syntaxes = dict.fromkeys(_shown(context.abstract_syntax) for context in contexts)
    implementation = user.implementation_version_name or user.implementation_class_uid
    return Wish(tuple(filter(None, syntaxes)), _shown(implementation))


def _shown(text: object) -> str:
    return "".join(each for each in str(text or "") if each.isascii() and each.isprintable())[:LONGEST_UID]


def _refuse(association: StreamingAssociation, answer: tuple[int, int, int]) -> None:
    association.acse.send_reject(*answer)
    association.is_rejected = True
    association.kill()


def _ending(association: StreamingAssociation) -> Ending:
    return Ending.RELEASED if association.is_released else Ending.ABORTED


def _now() -> datetime:
    return datetime.now(UTC)
