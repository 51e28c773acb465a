"""Job to queue message: as many as there are idle workers, again when one seems lost; and silent workers' jobs back."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from node.catalog import jobs
from node.catalog.revisions import record_failure
from node.catalog.session import Catalog
from node.domain.job import Failure
from node.errors import Unavailable

log = logging.getLogger(__name__)

LOST_AFTER = timedelta(seconds=30)
"""A message that nobody claimed for so long is sent again."""
WORKER_SILENT_AFTER = timedelta(seconds=20)


def room(slots: int, in_flight: int) -> int:
    """How many messages to send now: priority lives in SQL, so none waits in the broker."""
    return max(0, max(slots, 1) - in_flight)


def step(catalog: Catalog, publish: Callable[[int], None], now: datetime) -> bool:
    """Take silent workers' jobs back, then publish what is next. True when something was published."""
    reclaim(catalog, now)
    with catalog.writing() as session:
        slots = jobs.slots(session, now - WORKER_SILENT_AFTER)
        free = room(slots, jobs.in_flight(session, now, LOST_AFTER))
        job_ids = jobs.publishable(session, now, LOST_AFTER, free) if free else []
        if job_ids:
            jobs.mark_published(session, job_ids, now)
    for job_id in job_ids:
        _publish(catalog, publish, job_id)
    return bool(job_ids)


def _publish(catalog: Catalog, publish: Callable[[int], None], job_id: int) -> None:
    try:
        publish(job_id)
    except Unavailable as error:
        log.warning("a job could not be published", extra={"job": job_id, "reason": str(error)})
        with catalog.writing() as session:
            jobs.unpublish(session, job_id)


def reclaim(catalog: Catalog, now: datetime) -> None:
    """A worker that let its lease expire is lost: its job is tried again, or buried."""
    with catalog.reading() as session:
        silent = jobs.with_expired_lease(session, now)
    for job in silent:
        log.warning("a worker fell silent", extra={"job": job.id, "attempt": job.attempts})
        with catalog.writing() as session:
            if any(each.id == job.id for each in jobs.with_expired_lease(session, now)):
                record_failure(session, job, Failure.LOST_WORKER, "The worker fell silent.", now)
