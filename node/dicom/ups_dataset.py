"""A step as a data set (PS3.4 Table CC.2.5-3), and what events carry (Table CC.2.4-1)."""

from collections.abc import Sequence
from datetime import UTC, datetime

from pydicom import Dataset
from pynetdicom.sop_class import UnifiedProcedureStepPush

from node.domain.procedure import DETECTION, FINAL, REASONS, Code, Output, Standing, Step, StepState, priority_name
from node.domain.procedure_events import Content, EventType

LABEL, WORKLIST = "AI lung nodule reading", "AI"
OWN_CODES = "99NODUS"


def dataset_of(step: Step, ae_title: str) -> Dataset:
    """Every attribute that we have of a step; those that have no value are there and empty."""
    ds = Dataset()
    ds.SpecificCharacterSet, ds.TimezoneOffsetFromUTC = "ISO_IR 192", "+0000"
    ds.SOPClassUID, ds.SOPInstanceUID = UnifiedProcedureStepPush, step.uid
    _add_patient(ds, step)
    _add_schedule(ds, step, ae_title)
    _add_relations(ds, step, ae_title)
    ds.ProcedureStepState = str(step.standing.state)
    ds.ProcedureStepProgressInformationSequence = [_progress(step.standing)]
    ds.UnifiedProcedureStepPerformedProcedureSequence = _performed(step, ae_title)
    return ds


def _add_patient(ds: Dataset, step: Step) -> None:
    who = step.subject
    ds.PatientName, ds.PatientID, ds.IssuerOfPatientID = who.patient_name, who.patient_id, who.issuer_of_patient_id
    ds.PatientBirthDate, ds.PatientSex = who.patient_birth_date, who.patient_sex
    ds.AdmissionID = step.given.get("AdmissionID", "")


def _add_schedule(ds: Dataset, step: Step, ae_title: str) -> None:
    ds.ScheduledProcedureStepPriority = priority_name(step.priority)
    ds.ProcedureStepLabel = step.given.get("ProcedureStepLabel") or LABEL
    ds.WorklistLabel = step.given.get("WorklistLabel") or WORKLIST
    ds.CommentsOnTheScheduledProcedureStep = step.given.get("CommentsOnTheScheduledProcedureStep", "")
    ds.ScheduledProcessingParametersSequence = []
    ds.ScheduledStationNameCodeSequence = [_station(ae_title)]
    ds.ScheduledStationClassCodeSequence = [code_item(Code("AI", "AI reading", OWN_CODES))]
    begins = step.given.get("ScheduledProcedureStepStartDateTime")
    ds.ScheduledProcedureStepStartDateTime = begins or time_of(step.created_at)
    ds.ExpectedCompletionDateTime = step.given.get("ExpectedCompletionDateTime", "")
    ds.ScheduledProcedureStepModificationDateTime = time_of(step.changed_at)
    ds.ScheduledWorkitemCodeSequence = [code_item(DETECTION)]


def _add_relations(ds: Dataset, step: Step, ae_title: str) -> None:
    subject = step.subject
    ds.StudyInstanceUID = subject.study_instance_uid
    ds.InputReadinessState = "READY" if step.standing.ready else "INCOMPLETE"
    ds.InputInformationSequence = [_input(step, ae_title)]
    request = Dataset()
    request.StudyInstanceUID, request.AccessionNumber = subject.study_instance_uid, subject.accession_number
    request.RequestedProcedureID = request.RequestedProcedureDescription = ""
    ds.ReferencedRequestSequence = [request]
    ds.ReplacedProcedureStepSequence = [_reference(step.replaces)] if step.replaces else []


def _input(step: Step, ae_title: str) -> Dataset:
    item = Dataset()
    item.TypeOfInstances = "DICOM"
    item.StudyInstanceUID = step.subject.study_instance_uid
    item.SeriesInstanceUID = step.subject.series_instance_uid or None
    item.DICOMRetrievalSequence = [_retrieval(ae_title)]
    return item


def _retrieval(ae_title: str) -> Dataset:
    item = Dataset()
    item.RetrieveAETitle = ae_title
    return item


def _reference(uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = UnifiedProcedureStepPush, uid
    return item


def _progress(standing: Standing) -> Dataset:
    item = Dataset()
    item.ProcedureStepProgress = str(standing.percent)
    item.ProcedureStepProgressDescription = standing.text[:1024]
    item.ReasonForCancellation = standing.why[:1024]
    item.ProcedureStepDiscontinuationReasonCodeSequence = [code_item(standing.reason)] if standing.reason else []
    return item


def _performed(step: Step, ae_title: str) -> list[Dataset]:
    if step.started_at is None or step.standing.state is StepState.SCHEDULED:
        return []
    item = Dataset()
    item.PerformedStationNameCodeSequence = [_station(ae_title)]
    item.PerformedWorkitemCodeSequence = [code_item(DETECTION)]
    item.PerformedProcedureStepStartDateTime = time_of(step.started_at)
    ended = step.finished_at if step.standing.state in FINAL else None
    item.PerformedProcedureStepEndDateTime = time_of(ended) if ended else ""
    item.OutputInformationSequence = _outputs(step.subject.study_instance_uid, step.outputs, ae_title)
    return [item]


def _outputs(study_uid: str, outputs: Sequence[Output], ae_title: str) -> list[Dataset]:
    """One item for each series: SEG, SR and SC have one of their own."""
    items = []
    for output in outputs:
        item, instance = Dataset(), Dataset()
        instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = (
            output.sop_class_uid,
            output.sop_instance_uid,
        )
        item.TypeOfInstances, item.StudyInstanceUID = "DICOM", study_uid
        item.SeriesInstanceUID = output.series_instance_uid
        item.ReferencedSOPSequence = [instance]
        item.DICOMRetrievalSequence = [_retrieval(ae_title)]
        items.append(item)
    return items


def code_item(code: Code) -> Dataset:
    """An item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme, code.meaning
    return item


def _station(ae_title: str) -> Dataset:
    return code_item(Code(ae_title, f"Nodus {ae_title}", OWN_CODES))


def time_of(at: datetime) -> str:
    """DT in UTC, as Timezone Offset From UTC says."""
    return f"{at.astimezone(UTC):%Y%m%d%H%M%S}"


def event_information(event: EventType, content: Content, ae_title: str) -> Dataset:
    """What an N-EVENT-REPORT carries."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    reason = REASONS.get(str(content.get("reason", "")))
    if event is EventType.STATE_REPORT:
        ds.ProcedureStepState = content["state"]
        ds.InputReadinessState = "READY" if content["ready"] else "INCOMPLETE"
        ds.ReasonForCancellation = content["why"]
        ds.ProcedureStepDiscontinuationReasonCodeSequence = [code_item(reason)] if reason else []
    elif event is EventType.CANCEL_REQUESTED:
        ds.RequestingAE, ds.ReasonForCancellation = content["by"], content["why"]
        ds.ProcedureStepDiscontinuationReasonCodeSequence = []
    elif event is EventType.PROGRESS_REPORT:
        item = Dataset()
        item.ProcedureStepProgress, item.ProcedureStepProgressDescription = str(content["percent"]), content["text"]
        ds.ProcedureStepProgressInformationSequence = [item]
    elif event is EventType.SCP_STATUS_CHANGE:
        ds.SCPStatus = content["status"]
        ds.SubscriptionListStatus = ds.UnifiedProcedureStepListStatus = "WARM START"
    else:
        ds.ScheduledStationNameCodeSequence = [_station(ae_title)]
        ds.ScheduledHumanPerformersSequence = []
    return ds
