"""A reading beside the newest earlier exam of its patient: chosen, read where it was not, compared; or why not."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from sqlalchemy.orm import Session

from node.catalog import prefetch, priors, studies
from node.catalog.jobs import Job
from node.catalog.priors import EarlierExam, EarlierReading
from node.catalog.session import Catalog
from node.domain.comparison import compare as same_images
from node.domain.eligibility import Eligibility, best, judge
from node.domain.instance import InstanceHeader
from node.domain.job import MOST_ECONOMICAL
from node.domain.outcome import Outcome
from node.domain.prior import Hindrance, PriorComparison, is_same_person
from node.errors import BadInput, GiveWay, LeaseLost, NotAChest
from node.settings import Settings
from workers import pipeline
from workers.comparable import made_like, person_of, read_of, references_to
from workers.lungs import segment_lungs
from workers.models import Detector
from workers.pipeline import Reading
from workers.priors.compare import Earlier, Read, compare
from workers.priors.nearby import Exam
from workers.volume import load_series

log = logging.getLogger(__name__)

AT_PERCENT = 82
"""How far a job is while it compares."""

MOST_TRIED = 3
"""Earlier exams that turn out to show no lungs cost a try each."""

Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class Chosen:
    """The earlier exam, and what of it is read."""

    exam: EarlierExam
    headers: tuple[InstanceHeader, ...]
    """Of the images to read."""
    verdict: Eligibility
    files: Mapping[str, tuple[str, str]]
    """SOP Instance UID to path and digest of the data set."""
    reading: EarlierReading | None
    """What was found in it, if it was read."""
    as_now: bool
    """By the very models that read now."""

    @property
    def source(self) -> str:
        """SHA-256 over what a comparison with it rests on."""
        found = [f"{uid} {finding!r}" for finding, uid in self.reading.found] if self.reading else []
        said = [self.exam.study_instance_uid, *sorted(digest for _, digest in self.files.values()), *found]
        return hashlib.sha256("\n".join(said).encode()).hexdigest()


@dataclass(frozen=True)
class Lookup:
    """Where earlier exams are looked for, and for which reading."""

    settings: Settings
    catalog: Catalog
    job: Job
    headers: tuple[InstanceHeader, ...]
    """Of the images that were read now."""
    verdict: Eligibility
    """On them."""
    detector: Detector
    progress: Progress

    def compared(self, reading: Reading, least_mm: float) -> Reading:
        """The reading with what became of its nodules; as it is where there is nothing to say. Raises LeaseLost.

        Whatever is wrong with an earlier exam costs the comparison, never the reading.
        """
        if self.job.shadow or not self.settings.priors.compare:
            return reading
        with self.catalog.reading() as session:
            notice = prefetch.notice_of(session, self.job.study_id) if self.settings.archive else ""
            exams = priors.exams_before(session, self.job.study_id, self.settings.priors.max_age_days)
            choice = list(islice(self._suitable(session, exams, reading.models.read_by), MOST_TRIED))
        begun = time.perf_counter()
        for chosen in choice:
            try:
                beside = self._beside(reading, chosen, _empty(chosen, notice), least_mm)
                timings = {**reading.timings_s, "compare": round(time.perf_counter() - begun, 3)}
                return pipeline.compared(replace(reading, timings_s=timings), beside)
            except NotAChest:
                continue  # of the abdomen, say
        source = hashlib.sha256(notice.encode()).hexdigest()
        return pipeline.compared(reading, PriorComparison("", "", 0, source, notice=notice)) if notice else reading

    def _suitable(self, session: Session, exams: Iterable[EarlierExam], read_by: str) -> Iterator[Chosen]:
        """Those that can be taken, the newest first."""
        for exam in exams:
            try:
                chosen = self._taken(session, exam, read_by)
            except ValueError:  # rows that another release wrote, or that were spoiled
                log.warning("an earlier exam cannot be understood", extra={"study": exam.study_instance_uid})
                continue
            if chosen is not None:
                yield chosen

    def _taken(self, session: Session, exam: EarlierExam, read_by: str) -> Chosen | None:
        verdicts = studies.verdicts_of_study(session, exam.study_id)
        uid = best(verdicts.values())
        series_id = next((key for key, (series_uid, _) in verdicts.items() if series_uid == uid), None)
        if series_id is None or studies.has_conflict(session, series_id) or studies.has_removed(session, series_id):
            return None
        headers = studies.headers_of_series(session, series_id)
        verdict = judge(headers)
        used = tuple(each for each in headers if each.sop_instance_uid in set(verdict.instance_uids))
        if not used or not is_same_person(person_of(used[0]), person_of(self.headers[0])):
            return None
        reading = priors.reading_of(session, exam.study_id, series_id, verdict.digest)
        as_now = reading is not None and reading.read_by == read_by
        if not as_now and not self.settings.priors.read_unread:
            return None
        files = studies.files_of_series(session, series_id, verdict.instance_uids)
        return Chosen(exam, used, verdict, files, reading, as_now)

    def _beside(self, reading: Reading, chosen: Chosen, begun: PriorComparison, least_mm: float) -> PriorComparison:
        if self.job.economy >= MOST_ECONOMICAL:  # workers were lost with this job, and the comparison may be why
            return replace(begun, hindrance=Hindrance.GIVEN_UP)
        try:
            self.progress("compare", AT_PERCENT)
            return compare(begun, self._now(reading), self._then(chosen), least_mm)
        except (LeaseLost, GiveWay, NotAChest):
            raise
        except BadInput:
            return replace(begun, hindrance=Hindrance.NOT_READ)
        except Exception:  # whatever an earlier exam holds must not cost this reading
            log.exception("the comparison failed", extra={"job": self.job.id, "study": self.job.study_instance_uid})
            return replace(begun, hindrance=Hindrance.GIVEN_UP)

    def _now(self, reading: Reading) -> Read:
        return read_of(reading, self.headers[0], pipeline.smallest_assessed_mm(self.verdict))

    def _then(self, chosen: Chosen) -> Earlier:
        paths = [self.settings.data / path for path, _ in chosen.files.values()]
        if chosen.as_now and chosen.reading is not None:
            return _as_it_was(paths, chosen, chosen.reading)
        return self._read_now(paths, chosen)

    def _read_now(self, paths: list[Path], chosen: Chosen) -> Earlier:
        """Read it; nodules that were reported before keep what they are tracked by."""
        reading = pipeline.read(
            paths,
            chosen.verdict,
            lambda stage, _: self.progress(f"prior: {stage}", AT_PERCENT),
            economy=self.job.economy,
            detector=self.detector,
        )
        before = dict(enumerate(chosen.reading.found)) if chosen.reading else {}
        same = same_images(reading.findings, [finding for finding, _ in before.values()])
        known = {one.ordinal: uid for one, other in same.both for finding, uid in before.values() if finding is other}
        smallest = pipeline.smallest_assessed_mm(chosen.verdict)
        uids = [known.get(each.ordinal, "") for each in reading.findings]
        return Earlier(read_of(reading, chosen.headers[0], smallest), uids)


def _as_it_was(paths: list[Path], chosen: Chosen, reading: EarlierReading) -> Earlier:
    """Its images again, for the alignment alone."""
    volume = load_series(paths).volume
    found, uids = [finding for finding, _ in reading.found], [uid for _, uid in reading.found]
    exam, limited = Exam(volume, segment_lungs(volume)), reading.outcome is Outcome.PARTIAL
    return Earlier(Read(exam, found, made_like(chosen.headers[0], volume.spacing_zyx_mm[0]), limited), uids)


def _empty(chosen: Chosen, notice: str) -> PriorComparison:
    images = references_to(chosen.headers)
    exam, said = chosen.exam, hashlib.sha256(f"{chosen.source}{notice}".encode()).hexdigest()
    return PriorComparison(exam.study_instance_uid, exam.study_date, exam.days, said, images=images, notice=notice)
