"""Asks a destination by C-FIND (PS3.4 C.4.1, Study Root) whether it has an instance, or how many a study has."""

from collections.abc import Iterator

from pydicom import Dataset
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from node.dicom import contexts, statuses
from node.dicom.store_scu import Patience, associated, requestor
from node.domain.commitment import Reference
from node.domain.peers import Destination
from node.errors import PeerFailed

MATCHES = (statuses.PENDING, statuses.PENDING_WITH_UNSUPPORTED_KEYS)


def question_about(reference: Reference) -> Dataset:
    """The identifier: each level's unique key has one value, as hierarchical queries want it (PS3.4 C.4.1.2.1)."""
    question = Dataset()
    question.QueryRetrieveLevel = "IMAGE"
    question.StudyInstanceUID = reference.study_instance_uid
    question.SeriesInstanceUID = reference.series_instance_uid
    question.SOPInstanceUID = reference.sop_instance_uid
    return question


def has(association: Association, reference: Reference) -> bool:
    """Whether the peer has an instance. Raises PeerFailed where it does not answer, or not with success.

    Only a match that names the instance counts: some answer with all they have to a key that they do not know.
    """
    found = [match.get("SOPInstanceUID") for match in _matches(association, question_about(reference))]
    return reference.sop_instance_uid in found


def counts(association: Association, study_instance_uid: str) -> dict[str, int]:
    """CT series of a study at the peer, and how many instances it says that each has; without those of which it does
    not say so. Raises PeerFailed."""
    question = Dataset()
    question.QueryRetrieveLevel = "SERIES"
    question.StudyInstanceUID = study_instance_uid
    question.SeriesInstanceUID = question.Modality = ""
    question.NumberOfSeriesRelatedInstances = None
    return {
        str(match.get("SeriesInstanceUID")): number
        for match in _matches(association, question)
        if match.get("StudyInstanceUID", study_instance_uid) == study_instance_uid
        and match.get("Modality") == "CT"
        and (number := _number(match))
    }


def _number(match: Dataset) -> int:
    try:
        return max(0, int(match.get("NumberOfSeriesRelatedInstances") or 0))
    except (TypeError, ValueError):
        return 0


def _matches(association: Association, question: Dataset) -> Iterator[Dataset]:
    try:
        for status, match in association.send_c_find(question, StudyRootQueryRetrieveInformationModelFind):
            if "Status" not in status:
                raise PeerFailed("The destination did not answer a C-FIND.")
            if status.Status in MATCHES and match is not None:
                yield match
            elif status.Status not in (*MATCHES, statuses.SUCCESS):
                raise PeerFailed(f"The destination answered a C-FIND with status 0x{status.Status:04X}.")
    except (RuntimeError, ValueError) as error:
        raise PeerFailed("The association ended before the C-FIND.") from error


def count(ae_title: str, patience: Patience, destination: Destination, study_instance_uid: str) -> dict[str, int]:
    """Associate with an archive, and ask it. Raises PeerFailed."""
    offered = contexts.offered_questions(commitment=False)
    with associated(requestor(ae_title, patience), destination, offered) as association:
        return counts(association, study_instance_uid)
