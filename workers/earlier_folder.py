"""A reading beside an earlier exam that lies in a folder: for `nodus analyse --earlier`."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from node.domain.instance import InstanceHeader
from node.domain.prior import Hindrance, PriorComparison, days_between, is_same_person
from node.errors import BadInput, SettingsError
from node.headers import data_set_digest
from workers import pipeline
from workers.comparable import person_of, read_of, references_to
from workers.folders import Chosen, best_of, series_below, verdicts_on
from workers.models import Detector
from workers.pipeline import Reading
from workers.priors.compare import Earlier, Read, compare

Progress = Callable[[str, int], None]
AT_PERCENT = 82
"""How far a reading is while it compares."""


@dataclass(frozen=True)
class EarlierFolder:
    """The earlier exam, and how long it is ago."""

    chosen: Chosen
    days: int

    def beside(self, reading: Reading, now: Chosen, least_mm: float, detector: Detector, progress: Progress) -> Reading:
        """The reading with what became of its nodules; with why not, where these images cannot be read.

        `least_mm`: change of a mean diameter from which it counts.
        """
        begun = self._begun()
        try:
            then = pipeline.read(
                list(self.chosen.files.values()),
                self.chosen.verdict,
                lambda stage, _: progress(f"earlier: {stage}", AT_PERCENT),
                detector=detector,
            )
            never_reported = [""] * len(then.findings)
            earlier = Earlier(_read(then, self.chosen), never_reported)
            return pipeline.compared(reading, compare(begun, _read(reading, now), earlier, least_mm))
        except BadInput:
            return pipeline.compared(reading, replace(begun, hindrance=Hindrance.NOT_READ))

    def _begun(self) -> PriorComparison:
        """What is known before anything is read."""
        header = self.chosen.headers[0]
        study, day = header.study_instance_uid, header.study_date
        said = [study, *sorted(data_set_digest(path) for path in self.chosen.files.values())]
        source = hashlib.sha256("\n".join(said).encode()).hexdigest()
        return PriorComparison(study, day, self.days, source, images=references_to(self.chosen.headers))


def _read(reading: Reading, chosen: Chosen) -> Read:
    return read_of(reading, chosen.headers[0], pipeline.smallest_assessed_mm(chosen.verdict))


def earlier_in(folder: Path, now: InstanceHeader) -> EarlierFolder:
    """The exam below a folder, by its headers. Raises SettingsError where it is none of the same patient before."""
    found = series_below(folder)
    verdicts = verdicts_on(found)
    chosen = best_of(found, verdicts)
    if chosen is None:
        said = sorted({reason for each in verdicts.values() for reason in each.reasons})
        raise SettingsError(f"There is no earlier CT below {folder} that can be read. {' '.join(said)}".strip())
    then = chosen.headers[0]
    if not is_same_person(person_of(then), person_of(now)):
        raise SettingsError(f"The images below {folder} are not certainly of the same patient: compare PatientID.")
    days = days_between(then.study_date, now.study_date)
    if days is None:
        raise SettingsError(f"The images below {folder} are not of an earlier StudyDate.")
    return EarlierFolder(chosen, days)
