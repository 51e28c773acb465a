"""Asks an archive for earlier exams and missing images: C-FIND, and C-MOVE to ourselves (PS3.4 C.4.1, C.4.2)."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pydicom import Dataset
from pynetdicom.association import Association
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)

from node.dicom import contexts, statuses
from node.dicom.query_scu import MATCHES
from node.dicom.store_scu import Patience, associated, requestor
from node.domain.peers import Destination
from node.domain.prefetch import ArchivedStudy
from node.domain.prior import Person
from node.errors import PeerFailed
from node.headers.values import text

MOST_ANSWERS = 500
"""Nobody has more exams; an archive that does not know the key would send all that it has."""
MOST_IMAGES = 20_000
"""No series has more; the same."""
IMAGES_AT_ONCE = 500
"""SOP Instance UIDs in one C-MOVE: a value of 64 KiB has room for a thousand."""
LAST_MOMENT_S = 0.1


def question_about(patient_id: str, issuer: str) -> Dataset:
    """The identifier: CT studies of a patient, with what tells whose they are, and when they were made."""
    question = Dataset()
    if not patient_id.isascii():
        question.SpecificCharacterSet = "ISO_IR 192"
    question.QueryRetrieveLevel = "STUDY"
    question.PatientID, question.IssuerOfPatientID = patient_id, issuer
    question.ModalitiesInStudy = "CT"
    for keyword in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyInstanceUID", "StudyDescription"):
        setattr(question, keyword, "")
    return question


@dataclass(frozen=True)
class Archive:
    """An open association to an archive."""

    association: Association
    until: float
    """By time.monotonic(): it is given no more time."""

    def studies_of(self, person: Person) -> list[ArchivedStudy]:
        """What it says that it has of a patient; it may say too much. Raises PeerFailed where it says nothing."""
        question = question_about(person.patient_id, person.issuer)
        return [_study_of(match) for match in self._matches(question, MOST_ANSWERS, "exams than one patient has")]

    def images_of(self, study_instance_uid: str, series_instance_uid: str) -> set[str]:
        """SOP Instance UIDs of what it says that it has of a series. Raises PeerFailed where it says nothing."""
        question = _of_series(study_instance_uid, series_instance_uid)
        question.SOPInstanceUID = ""
        return {
            text(match, "SOPInstanceUID")
            for match in self._matches(question, MOST_IMAGES, "images than a series has")
            if match.get("SeriesInstanceUID", series_instance_uid) == series_instance_uid
        } - {""}

    def send_to(self, ae_title: str, study_instance_uid: str) -> None:
        """Have it send a whole study. Raises PeerFailed where not all of it was stored."""
        request = Dataset()
        request.QueryRetrieveLevel, request.StudyInstanceUID = "STUDY", study_instance_uid
        self._move(ae_title, request)

    def send_images_to(
        self, ae_title: str, study_instance_uid: str, series_instance_uid: str, sop_instance_uids: Sequence[str]
    ) -> None:
        """Have it send some images of a series. Raises PeerFailed where not all of them were stored."""
        for first in range(0, len(sop_instance_uids), IMAGES_AT_ONCE):
            request = _of_series(study_instance_uid, series_instance_uid)
            request.SOPInstanceUID = list(sop_instance_uids[first : first + IMAGES_AT_ONCE])
            self._move(ae_title, request)

    def _matches(self, question: Dataset, most: int, than: str) -> Iterator[Dataset]:
        """What it answers to a C-FIND."""
        for number, (status, match) in enumerate(self._answers("C-FIND", question)):
            if status in MATCHES and match is not None:
                yield match
            elif status != statuses.SUCCESS:
                raise PeerFailed(f"the archive answered a C-FIND with status 0x{status:04X}.")
            if number > most:
                raise PeerFailed(f"the archive answered with more {than}.")

    def _move(self, ae_title: str, request: Dataset) -> None:
        for status, _ in self._answers("C-MOVE", request, ae_title):
            if status not in (*MATCHES, statuses.SUCCESS):
                raise PeerFailed(f"the archive answered a C-MOVE with status 0x{status:04X}.")

    def _answers(self, service: str, identifier: Dataset, *to: str) -> Iterator[tuple[int, Dataset | None]]:
        """Status and identifier of each answer, the last one with a status that ends it."""
        association = self.association
        send = association.send_c_move if to else association.send_c_find
        model = StudyRootQueryRetrieveInformationModelMove if to else StudyRootQueryRetrieveInformationModelFind
        self._grant()
        try:
            for status, match in send(identifier, *to, model):
                if "Status" not in status:
                    raise PeerFailed(f"the archive did not answer a {service} in time.")
                yield int(status.Status), match
                self._grant()
        except (RuntimeError, ValueError) as error:
            raise PeerFailed(f"the association ended before the {service}.") from error

    def _grant(self) -> None:
        """Each answer gets what is left of the time."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise PeerFailed("the archive took too long.")
        self.association.dimse_timeout = max(LAST_MOMENT_S, left)


def _of_series(study_instance_uid: str, series_instance_uid: str) -> Dataset:
    """The identifier at IMAGE level, but for the images."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.StudyInstanceUID, identifier.SeriesInstanceUID = study_instance_uid, series_instance_uid
    return identifier


def _study_of(match: Dataset) -> ArchivedStudy:
    who = (text(match, key) for key in ("PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"))
    return ArchivedStudy(
        text(match, "StudyInstanceUID"),
        text(match, "StudyDate"),
        Person(*who),
        text(match, "StudyDescription"),
        tuple(each for each in text(match, "ModalitiesInStudy").split("\\") if each),
    )


@contextmanager
def connected(ae_title: str, patience: Patience, archive: Destination) -> Iterator[Archive]:
    """Associate with an archive, for no longer than it is given for an answer. Raises PeerFailed."""
    until = time.monotonic() + patience.answer_s
    with associated(requestor(ae_title, patience), archive, contexts.offered_retrieval()) as association:
        yield Archive(association, until)
