"""Modalities and archives that tell how many images a study has: MPPS, IAN."""

from collections.abc import Mapping, Sequence

from pydicom import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import InstanceAvailabilityNotification, ModalityPerformedProcedureStep

from node.dicom.answers import keep_answers

SECRET = "Sentinel^Patient"


def _item(**values: object) -> Dataset:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item


def performed(series: Mapping[str, Sequence[str]]) -> list[Dataset]:
    """Performed Series Sequence: Series Instance UID to SOP Instance UIDs."""
    return [
        _item(
            SeriesInstanceUID=uid,
            ReferencedImageSequence=[
                _item(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID=each) for each in images
            ],
        )
        for uid, images in series.items()
    ]


def begun(study: str, status: str = "IN PROGRESS") -> Dataset:
    """N-CREATE of a step."""
    scheduled = _item(StudyInstanceUID=study, AccessionNumber="SENTINEL")
    return _item(
        ScheduledStepAttributesSequence=[scheduled], PatientName=SECRET, PerformedProcedureStepStatus=status,
        PerformedSeriesSequence=[],
    )  # fmt: skip


def ended(series: Mapping[str, Sequence[str]], status: str = "COMPLETED") -> Dataset:
    """N-SET at its end."""
    return _item(PerformedProcedureStepStatus=status, PerformedSeriesSequence=performed(series))


def available(study: str, series: Mapping[str, Sequence[str]], where: str = "ONLINE") -> Dataset:
    """Instance Availability Notification."""
    return _item(
        StudyInstanceUID=study,
        ReferencedSeriesSequence=[
            _item(
                SeriesInstanceUID=uid,
                ReferencedSOPSequence=[
                    _item(ReferencedSOPInstanceUID=each, InstanceAvailability=where, RetrieveAETitle="PACS")
                    for each in images
                ],
            )
            for uid, images in series.items()
        ],
    )


def tell(port: int, *messages: tuple[str, Dataset, str], aet: str = "CT1") -> list[int]:
    """Messages over one association, each (`create`, `set` or `notify`, its data set, SOP Instance UID): statuses."""
    ae = AE(aet)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 60
    ae.add_requested_context(ModalityPerformedProcedureStep)
    ae.add_requested_context(InstanceAvailabilityNotification)
    association = keep_answers(ae.associate("127.0.0.1", port, ae_title="NODUS"))
    assert association.is_established
    statuses = []
    for what, dataset, uid in messages:
        if what == "set":
            status, _ = association.send_n_set(dataset, ModalityPerformedProcedureStep, uid)
        else:
            of = ModalityPerformedProcedureStep if what == "create" else InstanceAvailabilityNotification
            status, _ = association.send_n_create(dataset, of, uid)
        statuses.append(int(status.Status))
    association.release()
    return statuses
