"""A PACS that is asked for storage commitment, and answers when and where it is told to."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydicom import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from node.dicom.answers import keep_answers
from node.dicom.contexts import RESULT_SOP_CLASSES


def information(transaction_uid: str, kept: dict[str, str], missing: dict[str, int] | None = None) -> Dataset:
    """Event Information: SOP Instance UIDs that are kept with their classes, and why others are not."""
    told = Dataset()
    told.TransactionUID = transaction_uid
    told.ReferencedSOPSequence = [_item(uid, sop_class) for uid, sop_class in kept.items()]
    if missing:
        told.FailedSOPSequence = [_item(uid, RESULT_SOP_CLASSES[0], reason) for uid, reason in missing.items()]
    return told


def _item(uid: str, sop_class: str, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    if reason is not None:
        item.FailureReason = reason
    return item


def tell(port: int, ae_title: str, told: Dataset, event_type: int = 1, role: bool = True) -> int | None:
    """N-EVENT-REPORT to a node on an association of its own; None where that is not even accepted."""
    ae = AE(ae_title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 60
    ae.add_requested_context(StorageCommitmentPushModel)
    roles = [build_role(StorageCommitmentPushModel, scp_role=True)] if role else []
    association = keep_answers(ae.associate("127.0.0.1", port, ae_title="NODUS", ext_neg=roles))
    if not association.is_established:
        return None
    answer, _ = association.send_n_event_report(
        told, event_type, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    association.release()
    return int(answer.Status)


def ask(
    port: int, told: Dataset | None = None, ae_title: str = "CT1", action_type: int = 1, roles: tuple[int, ...] = ()
) -> int:
    """N-ACTION to a node, as a scanner that would delete what is committed; returns the status."""
    ae = AE(ae_title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 60
    ae.add_requested_context(StorageCommitmentPushModel)
    wanted = [build_role(StorageCommitmentPushModel, *map(bool, roles))] if roles else []
    association = keep_answers(ae.associate("127.0.0.1", port, ae_title="NODUS", ext_neg=wanted))
    answer, _ = association.send_n_action(
        told if told is not None else information("1.2.3", {"1.2.4": RESULT_SOP_CLASSES[0]}), action_type,
        StorageCommitmentPushModel, StorageCommitmentPushModelInstance,
    )  # fmt: skip
    association.release()
    return int(answer.Status)


@dataclass
class CommittingPacs:
    """Takes results, says with `status` that it was asked, and answers on the same association if `here`."""

    here: bool = False
    status: int = 0x0000
    port: int = 0
    has: dict[str, str] = field(default_factory=dict)
    """SOP Instance UID to SOP Class UID."""
    stored: list[str] = field(default_factory=list)
    """SOP Instance UIDs, each time that they came."""
    asked: list[Dataset] = field(default_factory=list)
    """Action Informations."""
    acknowledged: list[int] = field(default_factory=list)
    """Statuses of answers that were given on the same association."""
    responded: threading.Event = field(default_factory=threading.Event)

    def on_store(self, event: evt.Event) -> int:
        self.has[str(event.request.AffectedSOPInstanceUID)] = str(event.request.AffectedSOPClassUID)
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    def on_find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        match = Dataset()
        match.QueryRetrieveLevel, match.SOPInstanceUID = "IMAGE", event.identifier.SOPInstanceUID
        if match.SOPInstanceUID in self.has:
            yield 0xFF00, match

    def on_action(self, event: evt.Event) -> tuple[int, None]:
        self.asked.append(event.action_information)
        if self.here and self.status == 0x0000:
            self.responded.clear()
            threading.Thread(target=self._answer, args=(event.assoc, event.action_information), daemon=True).start()
        return self.status, None

    def on_sent(self, _: evt.Event) -> None:
        self.responded.set()

    def _answer(self, association: object, request: Dataset) -> None:
        assert self.responded.wait(60)
        kept = {str(each.ReferencedSOPInstanceUID): str(each.ReferencedSOPClassUID)
                for each in request.ReferencedSOPSequence}  # fmt: skip
        answer, _ = association.send_n_event_report(  # type: ignore[attr-defined]
            information(request.TransactionUID, kept), 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        self.acknowledged.append(int(answer.Status))


@contextmanager
def committing_pacs(
    *,
    here: bool = False,
    status: int = 0x0000,
    commits: bool = True,
    finds: bool = False,
    tls: ssl.SSLContext | None = None,
) -> Iterator[CommittingPacs]:
    """A pynetdicom SCP for results and, if it `commits`, storage commitment, and, if it `finds`, C-FIND."""
    pacs = CommittingPacs(here, status)
    ae = AE("COMMITTING")
    classes = [*RESULT_SOP_CLASSES, Verification]
    classes += [StorageCommitmentPushModel] * commits + [StudyRootQueryRetrieveInformationModelFind] * finds
    handlers = [(evt.EVT_C_STORE, pacs.on_store), (evt.EVT_N_ACTION, pacs.on_action), (evt.EVT_C_FIND, pacs.on_find),
                (evt.EVT_PDU_SENT, pacs.on_sent)]  # fmt: skip
    server = ae.start_server(
        ("127.0.0.1", 0), block=False, contexts=[build_context(each) for each in classes], evt_handlers=handlers,
        ssl_context=tls,
    )  # fmt: skip
    pacs.port = server.server_address[1]
    try:
        yield pacs
    finally:
        ae.shutdown()


@dataclass
class Scanner:
    """Asks for storage commitment, and takes the answer on an association that is opened to it."""

    port: int = 0
    answers: list[int] = field(default_factory=list)
    """Statuses, one for each report; then success."""
    told: list[tuple[int, Dataset]] = field(default_factory=list)
    """Event Type and Event Information."""
    roles: list[tuple[bool, bool]] = field(default_factory=list)
    """What the node proposed to be: SCU, SCP."""

    def on_report(self, event: evt.Event) -> tuple[int, None]:
        role = event.assoc.requestor.role_selection.get(StorageCommitmentPushModel)
        self.roles.append((bool(role.scu_role), bool(role.scp_role)) if role else (True, False))
        self.told.append((event.event_type, event.event_information))
        return (self.answers.pop(0) if self.answers else 0x0000), None


@contextmanager
def scanner(
    ae_title: str = "CT1", *answers: int, port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[Scanner]:
    """A pynetdicom acceptor of storage commitment results."""
    one = Scanner(answers=list(answers))
    ae = AE(ae_title)
    ae.require_called_aet = True
    context = build_context(StorageCommitmentPushModel)
    context.scu_role, context.scp_role = False, True
    server = ae.start_server(
        ("127.0.0.1", port), block=False, contexts=[context], ssl_context=tls,
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, one.on_report)],
    )  # fmt: skip
    one.port = server.server_address[1]
    try:
        yield one
    finally:
        ae.shutdown()
