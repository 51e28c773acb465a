"""One job's reading as rows and files: which images, what the pipeline said, the encoded results on disk."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy.orm import Session

from node.catalog import installation, outbox, peers, studies
from node.catalog.jobs import Job
from node.catalog.outbox import StoredResult
from node.catalog.session import Catalog
from node.domain.delivery import ResultKind
from node.domain.eligibility import are_of_one_patient, judge, says_chest
from node.domain.finding import Finding
from node.domain.guidance import Guidance
from node.domain.outcome import Conclusion, Outcome
from node.domain.prior import PriorComparison
from node.domain.retention import REMOVED
from node.errors import BadInput, NotAChest, RuleBroken
from node.pictures import strip_name
from node.quarantine import keep_quarantined
from node.settings import Settings
from node.spool import write_durably
from workers import pipeline
from workers.authorship import Author
from workers.earlier import Lookup
from workers.models import chosen, in_shadow, named
from workers.results import SR_LADDER, EncodedResult, Predecessor, ResultRequest, Style, broken_rules, encode
from workers.results.strip import png, strips_of
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
    guidance: Guidance | None = None
    shadow: str = ""
    """The model that is to read the same images in shadow."""
    read_by: str = ""
    """SHA-256 over chain, networks and thresholds, hex."""
    comparison: PriorComparison | None = None
    tracking_uids: Mapping[int, str] = field(default_factory=dict)
    """By ordinal of the finding."""

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
            senders = studies.senders_of_series(session, self._series_id)
        if verdict.digest != self.job.digest:
            return None
        if removed:
            return self._unread(REMOVED, self._ct_files(), says=True)
        paths = [self.settings.data / path for path, _ in files.values()]
        data, tried = self.settings.data, self.job.shadow
        detector, beside = (named(data, tried), "") if tried else (chosen(data), in_shadow(data))
        try:
            reading = pipeline.read(paths, verdict, self.progress, economy=self.job.economy, detector=detector)
        except BadInput as error:
            return self._unread(str(error), files, says=not isinstance(error, NotAChest) or says_chest(headers))
        read_by, rules = reading.models.read_by, self.settings.guidelines.rules()
        used = tuple(each for each in headers if each.sop_instance_uid in files)
        lookup = Lookup(self.settings, self.catalog, self.job, used, verdict, detector, self.progress)
        reading = lookup.compared(reading, pipeline.least_change_mm(reading, rules, senders))
        reading = pipeline.advise(reading, rules, senders)
        self.progress("write results", 90)
        report = self._report(reading, {uid: digest for uid, (_, digest) in files.items()}, beside)
        return replace(report, read_by=read_by)

    def _unread(self, reason: str, files: dict[str, tuple[str, str]], *, says: bool) -> Report:
        """Why the images cannot be read; said in the PACS only where somebody waits there for a reading."""
        if not says or self.job.shadow:
            return Report(Conclusion(Outcome.NOT_ANALYSED, (reason,)))
        return self._notice((reason,), files)

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

    def _report(self, reading: pipeline.Reading, digests: dict[str, str], beside: str) -> Report:
        request = self._author().report(reading, digests, shadow=bool(self.job.shadow))
        return Report(
            reading.conclusion,
            reading.findings,
            self._write(request),
            model_version=reading.models.model.version,
            weights_sha256=reading.models.weights_sha256,
            timings_s=reading.timings_s,
            guidance=reading.guidance,
            shadow=beside,
            comparison=reading.comparison,
            tracking_uids={each.ordinal: request.tracking_uid(each) for each in reading.findings},
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
                Style(self.settings.language, self.settings.report_outlines),
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
        """Encode every wanted result, every rung of it, read each again, and make the files durable.

        Raises RuleBroken, with the objects that broke rules in quarantine and none where results are sent from.
        """
        with self.catalog.reading() as session:
            asked = {ResultKind(kind) for each in peers.destinations(session) for kind in each.destination.results}
        encoded = [
            (rung, each)
            for kind in sorted({ResultKind.SEG, ResultKind.SR} | asked)
            for rung, each in enumerate(encode(request, kind))
        ]
        self._require_unbroken(encoded, request)
        folder = self.settings.data / "results" / str(self.job.id) / self.token
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for label, strip in strips_of(request).items():
            write_durably(folder / strip_name(label), png(strip))
        return tuple(self._keep(folder, rung, each) for rung, each in encoded)

    def _require_unbroken(self, encoded: Sequence[tuple[int, EncodedResult]], request: ResultRequest) -> None:
        said, first = [], None
        for rung, each in encoded:
            if not (broken := broken_rules(each, request, first)):
                first = each if rung == 0 else first
            else:
                keep_quarantined(self.settings.data, self.job.id, each.kind, rung, each.data)
                said.append(f"{each.kind}-{rung} broke: {' '.join(map(str, broken))}")
        if said:
            raise RuleBroken("\n".join(said))

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
            encoded.refers_to,
        )
