"""Results sent again: those that a destination refused, and, when the operator says so, those that it lost."""

from datetime import UTC, datetime

from sqlalchemy.orm import Session

from node.admin.opened import opened
from node.admin.peers import named
from node.admin.view import View
from node.catalog import audit, commitments, forwards, outbox, overview, studies
from node.domain.audit import Detail, Event, EventKind
from node.domain.delivery import OutboxState
from node.domain.forwarding import ForwardState
from node.errors import Unavailable
from node.settings import Settings


def resend(settings: Settings, study_instance_uid: str, to: str, delivered: bool) -> View:
    """Make a study's newest results due again: the same bytes under the same UIDs, so never a second report.

    Raises Unavailable when there is no such study, destination or result.
    """
    states = [OutboxState.REFUSED, *([OutboxState.DELIVERED, OutboxState.COMMITTED] if delivered else [])]
    with opened(settings) as catalog, catalog.writing() as session:
        studies.lock(session, study_instance_uid)  # retention removes no files meanwhile
        job_id, now = _newest_job(session, study_instance_uid), datetime.now(UTC)
        if outbox.are_purged(session, job_id):
            raise Unavailable("The files of these results were removed by retention: they cannot be sent again.")
        places = [each.id for each in named(session, to)] if to else [None]
        count = sum(outbox.send_again(session, job_id, states, now, place) for place in places)
        if not count:
            raise Unavailable(_nothing(delivered))
        commitments.anew(session, job_id, now)
        detail: Detail = {"to": to, "results": count, "delivered": delivered}
        audit.append(session, Event(EventKind.RESULTS_RESENT, actor="operator", study_instance_uid=study_instance_uid,
                                    job_id=job_id, detail=detail, at=now))  # fmt: skip
    return View({"job": job_id, "results": count}, note=f"{count} results of job {job_id} are due again.")


def resend_images(settings: Settings, study_instance_uid: str, to: str, delivered: bool) -> View:
    """Make images of a study that were to be forwarded due again: the same bytes, where they are still here.

    Raises Unavailable when there is no such study, destination or image.
    """
    kept = (ForwardState.DELIVERED, ForwardState.COMMITTED) if delivered else ()
    with opened(settings) as catalog, catalog.writing() as session:
        studies.lock(session, study_instance_uid)  # retention removes no files meanwhile
        study, now = overview.study_of_uid(session, study_instance_uid), datetime.now(UTC)
        if study is None:
            raise Unavailable("There is no such study.")
        places = [each.id for each in named(session, to)] if to else [None]
        states = (ForwardState.REFUSED, *kept)
        count = sum(forwards.send_again(session, study["id"], states, now, place) for place in places)
        if not count:
            raise Unavailable("No image of this study that is still here was refused by a destination in use.")
        detail: Detail = {"to": to, "images": count, "delivered": delivered}
        audit.append(session, Event(EventKind.FORWARDS_RESENT, actor="operator", study_instance_uid=study_instance_uid,
                                    detail=detail, at=now))  # fmt: skip
    return View({"images": count}, note=f"{count} images are due again.")


def _newest_job(session: Session, study_instance_uid: str) -> int:
    study = overview.study_of_uid(session, study_instance_uid)
    job_id = outbox.newest_job_seen(session, study["id"]) if study else None
    if job_id is None:
        raise Unavailable("There is no such study, or it has no results.")
    return job_id


def _nothing(delivered: bool) -> str:
    more = "" if delivered else " Those that a destination took and lost are sent again with --delivered."
    return f"No result of this study was refused by a destination in use.{more}"
