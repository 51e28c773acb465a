"""The jobs as a Modality Worklist (PS3.4 K), under an AE title of its own: what `findscu -W` lists."""

from collections.abc import Callable, Iterator

from pydicom import Dataset
from pynetdicom import evt

from node.dicom.ups_dataset import LABEL, code_item, time_of
from node.dicom.ups_scp import Answer, Workflow, answer_find
from node.domain.procedure import DETECTION, Step, StepState, priority_name
from node.domain.reception import QueryAnswered


class WorklistSCP:
    """Serves C-FIND of the Modality Worklist."""

    def __init__(self, ae_title: str, workflow: Workflow, tell: Callable[[QueryAnswered], None]) -> None:
        self._ae_title = ae_title
        self._workflow = workflow
        self._tell = tell

    def on_find(self, event: evt.Event) -> Iterator[Answer]:
        """One Pending for each job that matches, then the final status."""
        as_item = lambda step: worklist_item(step, self._ae_title)  # noqa: E731
        yield from answer_find(event, self._workflow.find, as_item, self._tell, "WORKLIST")


def status_of(step: Step) -> str:
    """Scheduled Procedure Step Status (PS3.3 C.4.10): what has ended, however it did, has left."""
    if step.standing.state is StepState.SCHEDULED:
        return "READY" if step.standing.ready else "SCHEDULED"
    return "STARTED" if step.standing.state is StepState.IN_PROGRESS else "DEPARTED"


def worklist_item(step: Step, ae_title: str) -> Dataset:
    """Every attribute that we have (PS3.4 Table K.6-1); those without a value are there and empty."""
    item, who = Dataset(), step.subject
    item.SpecificCharacterSet, item.TimezoneOffsetFromUTC = "ISO_IR 192", "+0000"
    item.PatientName, item.PatientID, item.IssuerOfPatientID = (
        who.patient_name,
        who.patient_id,
        who.issuer_of_patient_id,
    )
    item.PatientBirthDate, item.PatientSex = who.patient_birth_date, who.patient_sex
    item.AccessionNumber, item.ReferringPhysicianName = who.accession_number, who.referring_physician_name
    item.StudyInstanceUID = who.study_instance_uid
    item.AdmissionID = step.given.get("AdmissionID", "")
    item.RequestedProcedureID = short_id(step)
    item.RequestedProcedureDescription = LABEL
    item.RequestedProcedureCodeSequence = [code_item(DETECTION)]
    item.RequestedProcedurePriority = {"HIGH": "HIGH", "LOW": "LOW"}.get(priority_name(step.priority), "ROUTINE")
    item.RequestedProcedureComments = _comment(step)
    item.ReferencedStudySequence = []
    item.ScheduledProcedureStepSequence = [_scheduled(step, ae_title)]
    return item


def short_id(step: Step) -> str:
    """The end of the step's UID: SH holds no more."""
    return step.uid[-16:]


def _scheduled(step: Step, ae_title: str) -> Dataset:
    item, when = Dataset(), time_of(step.created_at)
    item.ScheduledStationAETitle, item.ScheduledStationName = ae_title, ae_title
    item.Modality = "CT"
    item.ScheduledProcedureStepStartDate, item.ScheduledProcedureStepStartTime = when[:8], when[8:]
    item.ScheduledPerformingPhysicianName = item.ScheduledProcedureStepLocation = ""
    item.ScheduledProcedureStepID = short_id(step)
    item.ScheduledProcedureStepStatus = status_of(step)
    item.ScheduledProcedureStepDescription = _description(step)
    item.ScheduledProtocolCodeSequence = [code_item(DETECTION)]
    item.CommentsOnTheScheduledProcedureStep = _comment(step)
    return item


def _description(step: Step) -> str:
    standing = step.standing
    if standing.state is StepState.CANCELED:
        return f"AI canceled: {standing.reason.meaning if standing.reason else ''}"[:64]
    return f"AI {standing.percent} %: {standing.text}"[:64]


def _comment(step: Step) -> str:
    return step.standing.why or step.given.get("CommentsOnTheScheduledProcedureStep", "") or step.standing.text
