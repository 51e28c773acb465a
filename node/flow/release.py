"""Study complete to released: results that were held become due."""

from datetime import datetime

from node.catalog import audit, outbox
from node.catalog.session import Catalog
from node.domain.audit import Event, EventKind


def step(catalog: Catalog, now: datetime) -> bool:
    """Release what may go. True when something was released."""
    with catalog.reading() as session:
        waiting = outbox.jobs_to_release(session)
    for job_id, study_uid in waiting:
        with catalog.writing() as session:
            outbox.release(session, job_id, now)
            audit.append(session, Event(EventKind.RESULTS_RELEASED, study_instance_uid=study_uid, job_id=job_id))
    return bool(waiting)
