"""Job id in, outbox rows out: claim, analyse, save, in one transaction."""

import errno
import logging
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy.exc import InterfaceError, OperationalError

from node.catalog import audit, findings, jobs, outbox, studies
from node.catalog.instant import now_of
from node.catalog.jobs import Job
from node.catalog.revisions import record_failure
from node.domain.audit import Detail, Event, EventKind
from node.domain.job import Failure, JobKind, JobState
from node.errors import GiveWay, LeaseLost, NodusError, OutOfMemory, RuleBroken
from workers.ending import end_if_told
from workers.giving_way import giving_way
from workers.workplace import Workplace

if TYPE_CHECKING:
    from workers.report import Report

log = logging.getLogger(__name__)

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
NO_ROOM_WAIT = timedelta(minutes=1)
STALE_WAIT = timedelta(seconds=5)
"""Images came after the job was made: the node is about to replace it."""
BEATS_PER_LEASE = 4
SAVE_EVERY_S = 2.0
AWAY = (OperationalError, InterfaceError)
"""What a database raises that does not answer."""


@dataclass(frozen=True)
class Claim:
    """A job in this worker's hands."""

    workplace: Workplace
    job: Job
    token: str

    def progress(self, stage: str, percent: int) -> None:
        """Say how far it is, where the database hears it. Raises LeaseLost."""
        try:
            with self.workplace.catalog.writing() as session:
                jobs.report_progress(session, self.job.id, self.token, stage, percent)
        except AWAY as error:
            log.warning("the database is away", extra={**_names(self.job), "error": type(error).__name__})

    def beat(self) -> None:
        """Prolong the lease. Raises LeaseLost."""
        with self.workplace.catalog.writing() as session:
            jobs.heartbeat(session, self.job.id, self.token, now_of(session), self.workplace.lease)

    def give_back(self, why: str, wait: timedelta = timedelta(0)) -> None:
        """Let somebody else do it; the attempt does not count."""
        with self.workplace.catalog.writing() as session:
            jobs.give_back(session, self.job.id, self.token, now_of(session) + wait)
            audit.append(session, _event(EventKind.JOB_GIVEN_BACK, self.job, {"why": why}))

    def give_back_stale(self) -> None:
        """Other images are there than the job was made for: the node judges them, and ends the job or replaces it.

        Where it has, and this job was made of an older judgement all the same, it judges again.
        """
        job = self.job
        with self.workplace.catalog.writing() as session:
            studies.lock(session, job.study_instance_uid)
            jobs.give_back(session, job.id, self.token, now_of(session) + STALE_WAIT)
            opened = studies.open_again(session, job.study_id, job.series_id)
            audit.append(session, _event(EventKind.JOB_GIVEN_BACK, job, {"why": "stale", "opened": opened}))

    def end_stale(self) -> None:
        """The same for a shadow reading: the reading is judged anew, and has another shadow then."""
        with self.workplace.catalog.writing() as session:
            job = jobs.holder(session, self.job.id, self.token)
            jobs.change_state(session, job, JobState.SUPERSEDED)
            audit.append(session, _event(EventKind.JOB_SUPERSEDED, job, {"why": "stale"}))

    def wanted(self) -> bool:
        """Whether this worker has something better to do than its shadow reading, which may be nobody's any more."""
        with self.workplace.catalog.reading() as session:
            held = jobs.is_held(session, self.job.id, self.token)
            return not held or jobs.want_workers(session, now_of(session))

    def fail(self, failure: Failure, text: str) -> None:
        """Record a failed attempt."""
        with self.workplace.catalog.writing() as session:
            job = jobs.holder(session, self.job.id, self.token)
            record_failure(session, job, failure, text, now_of(session))

    def fail_for_good(self, error: RuleBroken) -> None:
        """Record results that must not leave; the same images would break the same rule again."""
        with self.workplace.catalog.writing() as session:
            job = jobs.holder(session, self.job.id, self.token)
            audit.append(session, _event(EventKind.RESULT_QUARANTINED, job, {"rules": str(error)}))
            record_failure(session, job, Failure.BROKEN_RESULT, str(error), now_of(session))

    def clear_away(self) -> None:
        """Remove what it wrote, unless it was saved after all: the answer to a COMMIT may have been lost."""
        claim = (self.job.id, self.token)
        with self.workplace.catalog.reading() as session:
            forgotten = jobs.forgotten_claims(session, [claim])
        if claim in forgotten:
            shutil.rmtree(self.workplace.results_of(*claim), ignore_errors=True)


def perform(workplace: Workplace, job_id: int) -> None:
    """Do one job, if it is there to be done."""
    claim = _claim(workplace, job_id)
    if claim is None:
        return
    log.info("job claimed", extra=_names(claim.job))
    with _heartbeat(claim):
        try:
            work(claim)
        except LeaseLost:
            log.warning("the lease was lost", extra=_names(claim.job))
            claim.clear_away()


def _claim(workplace: Workplace, job_id: int) -> Claim | None:
    token, name = secrets.token_hex(16), f"{socket.gethostname()}-{os.getpid()}"
    with workplace.catalog.writing() as session:
        job = jobs.claim(session, job_id, token, name, now_of(session), workplace.lease)
        if job is None:
            return None
        detail: Detail = {"worker": name, "attempt": job.attempts, "economy": job.economy}
        audit.append(session, _event(EventKind.JOB_CLAIMED, job, detail))
    return Claim(workplace, job, token)


def work(claim: Claim) -> None:
    """Run the job and end it: with results, with a failure by class, or back in the queue. Raises LeaseLost."""
    try:
        try:
            with giving_way(claim.wanted) if claim.job.shadow else nullcontext():
                report = _report(claim)
        finally:
            end_if_told()
        if report is None:
            claim.end_stale() if claim.job.shadow else claim.give_back_stale()
        else:
            _save_when_it_can_be(claim, report)
    except LeaseLost:
        raise
    except (GiveWay, RuleBroken) as error:
        _set_aside(claim, error)
    except (OutOfMemory, MemoryError):
        claim.fail(Failure.OUT_OF_MEMORY, "Not enough memory.")
    except (SystemExit, KeyboardInterrupt):
        claim.give_back("stopped")
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            _wait_for_room(claim, error)
            return
        log.exception("job failed", extra=_names(claim.job))
        named = isinstance(error, NodusError)
        text = str(error) if named else f"Unexpected error ({type(error).__name__}); the worker's log has it."
        claim.fail(Failure.UNKNOWN, text)


def _set_aside(claim: Claim, why: GiveWay | RuleBroken) -> None:
    """A shadow reading that makes room for a reading comes again; results that broke a rule never would be better."""
    if isinstance(why, GiveWay):
        claim.give_back("a reading waits")
        claim.clear_away()
    else:
        log.error("a result broke a rule", extra={**_names(claim.job), "rules": str(why)})
        claim.fail_for_good(why)


def _wait_for_room(claim: Claim, error: OSError) -> None:
    """The disk is no reason to give a study up: the job waits, for as long as it takes, and frees what it took."""
    reason = errno.errorcode.get(error.errno or 0, "")
    log.error("the results cannot be written; the job waits for room", extra={**_names(claim.job), "reason": reason})
    claim.give_back("no room", NO_ROOM_WAIT)
    claim.clear_away()


def _report(claim: Claim) -> "Report | None":
    from workers.report import Desk  # in the pool's child: torch's threads do not survive a fork

    desk = Desk(claim.workplace.settings, claim.workplace.catalog, claim.job, claim.token, claim.progress)
    return desk.analyse() if claim.job.kind is JobKind.ANALYSIS else desk.tell()


def _save_when_it_can_be(claim: Claim, report: "Report") -> None:
    """A database that is away for minutes does not cost a reading. Raises LeaseLost when it came back too late."""
    while True:
        try:
            return _save(claim, report)
        except AWAY as error:
            log.warning("results wait for the database", extra={**_names(claim.job), "error": type(error).__name__})
            time.sleep(SAVE_EVERY_S)


def _save(claim: Claim, report: "Report") -> None:
    """Findings, results, held outbox rows and the end of the job: all of it, or nothing when the lease is lost."""
    job = claim.job
    with claim.workplace.catalog.writing() as session:
        now = now_of(session)
        jobs.finish(
            session,
            job.id,
            claim.token,
            now,
            outcome=report.conclusion.outcome,
            reasons=list(report.conclusion.limitations),
            model_version=report.model_version,
            weights_sha256=report.weights_sha256,
            timings=report.timings_s or {},
            guidance=asdict(report.guidance) if report.guidance else {},
            read_by=report.read_by,
            comparison=asdict(replace(report.comparison, images=())) if report.comparison else {},
        )
        findings.save(session, job.id, report.findings, report.tracking_uids)
        outbox.keep_results(session, job.id, report.results)
        if not job.shadow:  # which is for nobody but an administrator
            outbox.hold(session, job.id, report.kinds, report.is_notice, now)
            studies.set_outcome(session, job.study_id, report.conclusion.outcome, report.conclusion.limitations)
        detail: Detail = {
            "outcome": str(report.conclusion.outcome),
            "findings": len(report.findings),
            "model": report.model_version,
            "weights_sha256": report.weights_sha256,
            "results": len(report.results),
        }
        audit.append(session, _event(EventKind.JOB_DONE, job, detail))
        if report.shadow:
            jobs.open_beside(session, job, report.shadow, now)
    log.info("job done", extra={**_names(job), "outcome": report.conclusion.outcome, "findings": len(report.findings)})


@contextmanager
def _heartbeat(claim: Claim) -> Iterator[None]:
    """Keep the lease alive from a second thread; a database that is away for a moment does not end the job."""
    stop = threading.Event()
    thread = threading.Thread(target=_beat_until, args=(claim, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _beat_until(claim: Claim, stop: threading.Event) -> None:
    while not stop.wait(claim.workplace.lease.total_seconds() / BEATS_PER_LEASE):
        try:
            claim.beat()
        except LeaseLost:
            return
        except Exception:
            log.exception("a heartbeat failed", extra=_names(claim.job))


def _event(kind: EventKind, job: Job, detail: Detail) -> Event:
    said = {**detail, **jobs.named(job)}
    return Event(kind, actor="worker", study_instance_uid=job.study_instance_uid, job_id=job.id, detail=said)


def _names(job: Job) -> dict[str, object]:
    return {"job": job.id, "study": job.study_instance_uid}
