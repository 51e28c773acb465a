"""One job's reading as rows and files: which images, what the pipeline said, the encoded results on disk."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from node.catalog import installation, outbox, peers, studies
from node.catalog.jobs import Job
from node.catalog.outbox import StoredResult
from node.catalog.session import Catalog
from node.domain.delivery import ResultKind
from node.domain.eligibility import are_of_one_patient, judge, says_chest
from node.domain.finding import Finding
from node.domain.outcome import Conclusion, Outcome
from node.domain.retention import REMOVED
from node.errors import BadInput, NotAChest
from node.settings import Settings
from node.spool import write_durably
from workers import pipeline
from workers.authorship import Author
from workers.models import chosen
from workers.results import SR_LADDER, EncodedResult, Predecessor, ResultRequest, encode
from workers.volume import read_headers

Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class Report:
    """What a job ends with."""

    conclusion: Conclusion
    findings: tuple[Finding, ...] = ()
    results: tuple[StoredResult, ...] = ()
    is_notice: bool = False
    """It only says that the study was not analysed."""
    model_version: str = ""
    weights_sha256: str = ""
    timings_s: dict[str, float] | None = None

    @property
    def kinds(self) -> tuple[ResultKind, ...]:
        """What can be sent."""
        return tuple(kind for kind in ResultKind if any(result.kind is kind for result in self.results))


@dataclass(frozen=True)
class Desk:
    """Where a job is worked on."""

    settings: Settings
    catalog: Catalog
    job: Job
    token: str
    """Of the claim: each has a folder of its own, so that who lost the lease cannot overwrite what another saved."""
    progress: Progress

    def analyse(self) -> Report | None:
        """Read the images of the job; None when other images are there by now than the job was made for."""
        with self.catalog.reading() as session:
            headers = studies.headers_of_series(session, self._series_id)
            verdict = judge(headers)
            files = studies.files_of_series(session, self._series_id, verdict.instance_uids)
            removed = studies.has_removed(session, self._series_id)
        if verdict.digest != self.job.digest:
            return None
        if removed:
            return self._notice((REMOVED,), self._ct_files())
        paths = [self.settings.data / path for path, _ in files.values()]
        try:
            detector = chosen(self.settings.data)
            reading = pipeline.read(paths, verdict, self.progress, economy=self.job.economy, detector=detector)
        except BadInput as error:
            if isinstance(error, NotAChest) and not says_chest(headers):
                return Report(Conclusion(Outcome.NOT_ANALYSED, (str(error),)))
            return self._notice((str(error),), files)
        self.progress("write results", 90)
        return self._report(reading, {uid: digest for uid, (_, digest) in files.items()})

    def tell(self) -> Report:
        """Only say that the study was not analysed, and why; to nobody when its images name several patients by now."""
        files = self._ct_files()
        if self._names_several_patients():
            return Report(Conclusion(Outcome.NOT_ANALYSED, self.job.reasons), is_notice=True)
        return self._notice(self.job.reasons, files)

    def _names_several_patients(self) -> bool:
        """Of the images that `_ct_files` takes, and what came since."""
        with self.catalog.reading() as session:
            of_study = studies.ct_series_ids(session, self.job.study_id)
            series_ids = of_study if self.job.series_id is None else [self.job.series_id]
            headers = [header for each in series_ids for header in studies.headers_of_series(session, each)]
        return not are_of_one_patient(headers)

    def _ct_files(self) -> dict[str, tuple[str, str]]:
        """Of the study; of the job's series alone where it has one: another may name another patient."""
        with self.catalog.reading() as session:
            return studies.ct_files_of_study(session, self.job.study_id, self.job.series_id)

    @property
    def _series_id(self) -> int:
        if self.job.series_id is None:
            raise BadInput("The job names no series.")
        return self.job.series_id

    def _report(self, reading: pipeline.Reading, digests: dict[str, str]) -> Report:
        return Report(
            reading.conclusion,
            reading.findings,
            self._write(self._author().report(reading, digests)),
            model_version=reading.models.model.version,
            weights_sha256=reading.models.weights_sha256,
            timings_s=reading.timings_s,
        )

    def _notice(self, reasons: Sequence[str], files: dict[str, tuple[str, str]]) -> Report:
        """To nobody where every image was removed: a report takes from one whose it is."""
        if not files:
            return Report(Conclusion(Outcome.NOT_ANALYSED, tuple(reasons)), is_notice=True)
        _, (path, digest) = min(files.items())
        (header,) = read_headers([self.settings.data / path])
        request = self._author().notice(reasons, header, digest)
        return Report(request.conclusion, results=self._write(request), is_notice=True)

    def _author(self) -> Author:
        earlier = self.job.predecessor_job_id
        with self.catalog.reading() as session:
            return Author(
                self.settings.ae_title,
                installation.serial(session),
                self.job.created_at,
                "" if earlier is None else outbox.report_uid_of_job(session, earlier),
                {} if earlier is None else self._predecessors(session, earlier),
            )

    def _predecessors(self, session: Session, job_id: int) -> dict[str, Predecessor]:
        """The report that these replace, by SOP class: as it was sent, in the same class if there is such.

        None where it was never sent anywhere, as when a PACS took the segmentation and was gone.
        """
        sent = {
            each.sop_class_uid: Predecessor(
                self.job.study_instance_uid, each.series_instance_uid, each.sop_class_uid, each.sop_instance_uid
            )
            for each in outbox.reports_sent(session, job_id)
        }
        return {each: sent.get(each) or next(iter(sent.values())) for each in SR_LADDER} if sent else {}

    def _write(self, request: ResultRequest) -> tuple[StoredResult, ...]:
        """Encode every wanted result, every rung of it, and make the files durable."""
        with self.catalog.reading() as session:
            asked = {ResultKind(kind) for each in peers.destinations(session) for kind in each.destination.results}
        folder = self.settings.data / "results" / str(self.job.id) / self.token
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return tuple(
            self._keep(folder, rung, encoded)
            for kind in sorted({ResultKind.SEG, ResultKind.SR} | asked)
            for rung, encoded in enumerate(encode(request, kind))
        )

    def _keep(self, folder: Path, rung: int, encoded: EncodedResult) -> StoredResult:
        path = folder / f"{encoded.kind}-{rung}.dcm"
        write_durably(path, encoded.data)
        return StoredResult(
            encoded.kind,
            rung,
            encoded.sop_class_uid,
            encoded.sop_instance_uid,
            encoded.series_instance_uid,
            str(path.relative_to(self.settings.data)),
            hashlib.sha256(encoded.data).hexdigest(),
        )
