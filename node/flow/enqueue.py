"""Job to queue message: as many as there are idle workers, again when one seems lost; and silent workers' jobs back."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from node.catalog import control, jobs
from node.catalog.instant import now_of
from node.catalog.revisions import record_failure
from node.catalog.session import Catalog
from node.domain.job import Failure
from node.domain.lease import LeaseWatch
from node.errors import Unavailable

log = logging.getLogger(__name__)

LOST_AFTER = timedelta(seconds=30)
"""A message that nobody claimed for so long is sent again."""
LOST_WITHOUT_WORKER_AFTER = timedelta(days=365)
"""Where no worker is, it waits for the first: more of them would pile up in a broker that nobody empties."""


def room(slots: int, in_flight: int) -> int:
    """How many messages to send now: priority lives in SQL, so none waits in the broker."""
    return max(0, max(slots, 1) - in_flight)


def step(catalog: Catalog, publish: Callable[[int], None], now: datetime | None = None) -> bool:
    """Publish what is next, by the database's clock. True when something was published."""
    with catalog.writing() as session:
        now = now or now_of(session)
        job_ids = [] if control.is_drained(session) else _next(session, now)
        if job_ids:
            jobs.mark_published(session, job_ids, now)
    for job_id in job_ids:
        _publish(catalog, publish, job_id)
    return bool(job_ids)


def _next(session: Session, now: datetime) -> list[int]:
    """Readings first, as if nothing ran in shadow: that gives way to them."""
    slots = jobs.slots(session, now - jobs.WORKER_SILENT_AFTER)
    lost_after = LOST_AFTER if slots else LOST_WITHOUT_WORKER_AFTER
    busy = 0
    for shadow in (False, True):
        busy += jobs.in_flight(session, now, lost_after, shadow=shadow)
        if free := room(slots, busy):
            job_ids = jobs.publishable(session, now, lost_after, free, shadow=shadow)
            if job_ids:
                return job_ids
    return []


def _publish(catalog: Catalog, publish: Callable[[int], None], job_id: int) -> None:
    try:
        publish(job_id)
    except Unavailable as error:
        log.warning("a job could not be published", extra={"job": job_id, "reason": str(error)})
        with catalog.writing() as session:
            jobs.unpublish(session, job_id)


def reclaim(catalog: Catalog, watch: LeaseWatch) -> bool:
    """A worker whose lease does not move any more is lost: its job is tried again, or buried. True when one was."""
    with catalog.reading() as session:
        leases = jobs.leases(session)
    lost = [job_id for job_id in watch.lost(leases) if _take_back(catalog, job_id, leases[job_id])]
    return bool(lost)


def _take_back(catalog: Catalog, job_id: int, lease: jobs.Lease) -> bool:
    with catalog.writing() as session:
        job = jobs.with_lease(session, job_id, lease)
        if job is not None:
            log.warning("a worker fell silent", extra={"job": job.id, "attempt": job.attempts})
            record_failure(session, job, Failure.LOST_WORKER, "The worker fell silent.", now_of(session))
    return job is not None
