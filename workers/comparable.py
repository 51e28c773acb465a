"""A reading as the comparison of two exams takes it: whose it is, how its images were made, what limits it."""

from collections.abc import Sequence

from node.domain.instance import InstanceHeader
from node.domain.outcome import Outcome
from node.domain.prior import ImageReference, Person
from workers.lungs import segment_lungs
from workers.pipeline import Reading
from workers.priors.compare import Read
from workers.priors.nearby import Exam
from workers.priors.reconstruction import Reconstruction, reconstruction_of


def read_of(reading: Reading, header: InstanceHeader, smallest_mm: float) -> Read:
    """`header`: of one of its images. `smallest_mm`: nodules below are not assessed in it."""
    volume = reading.volume
    lungs = reading.lungs or segment_lungs(volume)
    made = made_like(header, volume.spacing_zyx_mm[0])
    limited = reading.conclusion.outcome is Outcome.PARTIAL
    return Read(Exam(volume, lungs), reading.findings, made, limited, smallest_mm)


def made_like(header: InstanceHeader, step_mm: float) -> Reconstruction:
    """How the images of a series were made."""
    assert header.ct is not None
    return reconstruction_of(header.ct, step_mm)


def person_of(header: InstanceHeader) -> Person:
    """Whose image it is."""
    return Person(header.patient_id, header.issuer_of_patient_id, header.patient_birth_date, header.patient_sex)


def references_to(headers: Sequence[InstanceHeader]) -> tuple[ImageReference, ...]:
    """The images of an exam, in order."""
    return tuple(
        ImageReference(each.sop_class_uid, each.sop_instance_uid, each.series_instance_uid)
        for each in sorted(headers, key=lambda each: (each.instance_number or 0, each.sop_instance_uid))
    )
