"""A peer that fetches with C-GET, or has sent with C-MOVE, and writes down every answer."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO

from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from node.dicom.answers import keep_answers
from tests.servers import Nodus

CT, PT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.128"
UNCOMPRESSED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")


@dataclass
class Fetched:
    """What came of a retrieval."""

    answers: list[tuple[int, int | None, int | None, int | None, int | None]] = field(default_factory=list)
    """Status, remaining, completed, failed, warning of each answer."""
    failed: list[str] = field(default_factory=list)
    """Failed SOP Instance UID List of the last answer."""
    got: list[evt.Event] = field(default_factory=list)
    """C-STOREs."""

    @property
    def last(self) -> tuple[int, int | None, int | None, int | None, int | None]:
        """The final answer."""
        return self.answers[-1]

    @property
    def uids(self) -> set[str]:
        """SOP Instance UIDs that came."""
        return {str(each.request.AffectedSOPInstanceUID) for each in self.got}

    def take(self, answers: object) -> "Fetched":
        """Write answers down."""
        for status, identifier in answers:  # type: ignore[attr-defined]
            names = ("Remaining", "Completed", "Failed", "Warning")
            counts = (status.get(f"NumberOf{name}Suboperations") for name in names)
            self.answers.append((status.Status, *counts))  # type: ignore[arg-type]
            named = identifier.get("FailedSOPInstanceUIDList") if identifier else None
            self.failed = [named] if isinstance(named, str) else list(named or [])
        return self


def identifier(level: str, **keys: object) -> Dataset:
    """An identifier of a query or retrieval."""
    asked = Dataset()
    asked.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(asked, keyword, value)
    return asked


def get(
    node: Nodus, asked: Dataset, classes: Sequence[str] = (CT, PT), syntaxes: Sequence[str] = UNCOMPRESSED,
    answers: Sequence[int] = (),
) -> Fetched:  # fmt: skip
    """C-GET as an SCP of some classes, that answers the first C-STOREs as it is told."""
    fetched, statuses = Fetched(), list(answers)

    def on_store(event: evt.Event) -> int:
        fetched.got.append(event)
        return statuses.pop(0) if statuses else 0x0000

    ae = AE("VIEWER")
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
    for each in classes:
        ae.add_requested_context(each, list(syntaxes))
    roles = [build_role(each, scp_role=True) for each in classes]
    association = keep_answers(
        ae.associate(
            "127.0.0.1", node.dicom_port, ae_title="NODUS", ext_neg=roles, evt_handlers=[(evt.EVT_C_STORE, on_store)]
        )
    )
    assert association.is_established
    try:
        return fetched.take(association.send_c_get(asked, StudyRootQueryRetrieveInformationModelGet))
    finally:
        association.release()


def associated(node: Nodus, model: str, calling: str = "VIEWER") -> Association:
    """An association for one model."""
    ae = AE(calling)
    ae.add_requested_context(model, ExplicitVRLittleEndian)
    association = keep_answers(ae.associate("127.0.0.1", node.dicom_port, ae_title="NODUS"))
    assert association.is_established
    return association


def move(node: Nodus, asked: Dataset, destination: str, calling: str = "VIEWER") -> Fetched:
    """C-MOVE to a destination."""
    association = associated(node, StudyRootQueryRetrieveInformationModelMove, calling)
    association.dimse_timeout = 60
    try:
        return Fetched().take(association.send_c_move(asked, destination, StudyRootQueryRetrieveInformationModelMove))
    finally:
        association.release()


def cancelled_move(node: Nodus, asked: Dataset, destination: str, when: threading.Event) -> Fetched:
    """C-MOVE that is cancelled at a moment."""
    model = StudyRootQueryRetrieveInformationModelMove
    association = associated(node, model)

    def cancel() -> None:
        assert when.wait(30)
        association.send_c_cancel(1, query_model=model)

    canceller = threading.Thread(target=cancel)
    canceller.start()
    try:
        return Fetched().take(association.send_c_move(asked, destination, model, msg_id=1))
    finally:
        canceller.join()
        association.release()


def find(node: Nodus, asked: Dataset, model: str = StudyRootQueryRetrieveInformationModelFind) -> list[Dataset]:
    """Answers of a C-FIND, which must succeed."""
    association = associated(node, model)
    try:
        answers = [(status.Status, answer) for status, answer in association.send_c_find(asked, model)]
    finally:
        association.release()
    assert answers[-1][0] == 0x0000, answers[-1]
    return [answer for _, answer in answers if answer is not None]


def data_set_of(event: evt.Event) -> bytes:
    """The bytes that came with a C-STORE."""
    return bytes(event.request.DataSet.getvalue())


def encoded(dataset: Dataset, *, implicit: bool = False) -> bytes:
    """A data set as it goes over the wire."""
    raw = encode(dataset, implicit, True)
    assert raw is not None
    return BytesIO(raw).getvalue()
