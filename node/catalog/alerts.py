"""Alerts: raised once, cleared when their condition ends, told to a webhook until it has heard."""

import logging
from collections import Counter
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.orm import Session

from node.catalog import audit, breakers, commitments, forwards, jobs, outbox, repository
from node.catalog.instant import now_of
from node.catalog.tables import alert, instance, job, series, study
from node.domain.alert import ABOUT_STUDIES, EVENTS, OVERDUE_AFTER, WARNINGS, Alert, AlertKind, Condition
from node.domain.audit import Detail, Event, EventKind, EventOutcome
from node.domain.breaker import BreakerState
from node.domain.collector import AWAY_AFTER
from node.domain.commitment import MOST_ROUNDS, UNCONFIRMED_AFTER
from node.domain.job import Failure, JobKind, JobState
from node.domain.study import UNDECIDED, VersionKind
from node.errors import Unavailable

log = logging.getLogger(__name__)

STANDING = alert.c.cleared_at.is_(None)
OPEN = STANDING & alert.c.acknowledged_at.is_(None)


def raise_(session: Session, condition: Condition, now: datetime) -> bool:
    """Raise an alert, unless it stands already. True when it is new. For events and conditions alike."""
    place = (alert.c.kind == condition.kind) & (alert.c.subject == condition.subject)
    if session.scalars(select(alert.c.id).where(STANDING, place).limit(1)).first() is not None:
        return False
    row = {"kind": condition.kind, "subject": condition.subject, "detail": dict(condition.detail)}
    session.execute(insert(alert).values(**row, raised_at=now, not_before=now))
    level = logging.WARNING if condition.kind in WARNINGS else logging.ERROR
    log.log(level, "an alert was raised", extra={"kind": condition.kind, "subject": condition.subject,
                                                 "detail": dict(condition.detail)})  # fmt: skip
    audit.append(session, _event(EventKind.ALERT_RAISED, condition, now))
    return True


def clear(session: Session, ended: Alert, now: datetime) -> None:
    """The condition is there no more."""
    session.execute(update(alert).where(alert.c.id == ended.id).values(cleared_at=now))
    condition = ended.condition
    log.info("an alert was cleared", extra={"kind": condition.kind, "subject": condition.subject})
    audit.append(session, _event(EventKind.ALERT_CLEARED, condition, now))


def acknowledge(session: Session, alert_id: int, now: datetime) -> Alert:
    """Somebody takes care of it; an event ends with that, a condition when it ends. Raises Unavailable."""
    row = session.execute(select(alert).where(OPEN, alert.c.id == alert_id)).mappings().one_or_none()
    if row is None:
        raise Unavailable(f"There is no open alert {alert_id}; `nodus alerts` lists them.")
    seen = _alert(row)
    cleared_at = now if seen.condition.kind in EVENTS else None
    session.execute(update(alert).where(alert.c.id == alert_id).values(acknowledged_at=now, cleared_at=cleared_at))
    audit.append(session, _event(EventKind.ALERT_ACKNOWLEDGED, seen.condition, now, "operator"))
    return seen


def _event(kind: EventKind, condition: Condition, now: datetime, actor: str = "node") -> Event:
    about_study = condition.kind in ABOUT_STUDIES
    return Event(
        kind,
        EventOutcome.SERIOUS_FAILURE if kind is EventKind.ALERT_RAISED else EventOutcome.SUCCESS,
        actor,
        study_instance_uid=condition.subject if about_study else "",
        job_id=int(condition.subject) if condition.kind is AlertKind.DEAD_JOB else None,
        detail={"alert": str(condition.kind), "subject": condition.subject, **condition.detail},
        at=now,
    )


def standing(session: Session) -> list[Alert]:
    """Alerts that were not cleared, acknowledged or not."""
    return [_alert(row) for row in session.execute(select(alert).where(STANDING).order_by(alert.c.id)).mappings()]


def _alert(row: Any) -> Alert:
    condition = Condition(AlertKind(row["kind"]), row["subject"], row["detail"])
    times = {name: row[name] for name in ("raised_at", "attempts", "cleared_at", "acknowledged_at")}
    return Alert(row["id"], condition, **times)


def conditions(session: Session) -> list[Condition]:
    """What stands in SQL that needs a person now."""
    of_jobs = [*_dead_jobs(session), *_dead_shadows(session)]
    of_peers = [*_open_breakers(session), *_results(session), *_forwards(session), *_audit_repository(session)]
    return [*of_jobs, *of_peers, *_undecided_versions(session)]


def _dead_jobs(session: Session) -> list[Condition]:
    return [Condition(AlertKind.DEAD_JOB, str(each.id), _why(each)) for each in jobs.dead(session)]


def _why(dead: jobs.Dead) -> Detail:
    """Of a failure's text only the rules that a result broke: any other may come from a library that quotes images."""
    detail: dict[str, str] = {"failure": dead.failure, "study_instance_uid": dead.study_instance_uid}
    if dead.failure == Failure.BROKEN_RESULT:
        detail["rules"] = dead.failure_text
    if dead.kind is JobKind.NOTICE:
        detail["pacs"] = "It was not told that the study was not analysed."
    return detail


def _dead_shadows(session: Session) -> list[Condition]:
    """One for each model: nobody waits for what it would have read."""
    models = Counter(jobs.get(session, each.id).shadow for each in jobs.dead(session, shadow=True))
    return [Condition(AlertKind.DEAD_SHADOW, model, {"jobs": count}) for model, count in models.items()]


def _open_breakers(session: Session) -> list[Condition]:
    return [
        Condition(AlertKind.OPEN_BREAKER, place, {"reason": each.reason})
        for place, each in breakers.by_destination(session).items()
        if each.state in (BreakerState.OPEN, BreakerState.HALF_OPEN)
    ]


def _results(session: Session) -> list[Condition]:
    now = now_of(session)
    found = {
        AlertKind.RESULT_REFUSED: outbox.missed(session),
        AlertKind.RESULT_OVERDUE: outbox.overdue(session, now - OVERDUE_AFTER),
        AlertKind.RESULT_UNCONFIRMED: commitments.unconfirmed(session, now),
    }
    return [
        Condition(kind, place, {"results": count}) for kind, places in found.items() for place, count in places.items()
    ]


def _audit_repository(session: Session) -> list[Condition]:
    stands, now = repository.standing(session), now_of(session)
    away = stands.failing_since is not None and stands.failing_since <= now - AWAY_AFTER
    detail: Detail = {"reason": stands.error, "rows": repository.backlog(session)}
    return [Condition(AlertKind.AUDIT_REPOSITORY, stands.place, detail)] if away else []


def _forwards(session: Session) -> list[Condition]:
    now = now_of(session)
    found = {
        AlertKind.FORWARD_REFUSED: forwards.missed(session),
        AlertKind.FORWARD_OVERDUE: forwards.overdue(session, now - OVERDUE_AFTER),
        AlertKind.FORWARD_UNCONFIRMED: forwards.unconfirmed(session, now - UNCONFIRMED_AFTER, MOST_ROUNDS),
    }
    return [
        Condition(kind, place, {"images": count}) for kind, places in found.items() for place, count in places.items()
    ]


def _undecided_versions(session: Session) -> list[Condition]:
    query = (
        select(study.c.study_instance_uid, instance.c.version, func.count())
        .select_from(study.join(series).join(instance))
        .where(study.c.conflicts > 0, instance.c.version.in_(UNDECIDED))
        .group_by(study.c.study_instance_uid, instance.c.version)
        .order_by(study.c.study_instance_uid)
    )
    kinds = {VersionKind.CONFLICT: AlertKind.CONFLICT, VersionKind.DEMOGRAPHICS: AlertKind.DEMOGRAPHICS_CHANGED}
    return [
        Condition(kinds[VersionKind(version)], uid, {"instances": count})
        for uid, version, count in session.execute(query)
    ]


def waiting_since(session: Session) -> datetime | None:
    """Since when the job that waits longest could run; None when none waits. What runs in shadow may wait for ever."""
    waits = (job.c.state == JobState.QUEUED) & jobs.runs(shadow=False)
    query = select(job.c.not_before).where(waits).order_by(job.c.not_before).limit(1)
    return session.scalars(query).first()


def next_to_tell(session: Session, now: datetime) -> Alert | None:
    """The oldest alert that the webhook has not heard of; one that ended before anybody tried to tell it is history."""
    query = select(alert).where(
        alert.c.notified_at.is_(None), alert.c.not_before <= now, or_(STANDING, alert.c.attempts > 0)
    )
    row = session.execute(query.order_by(alert.c.id).limit(1)).mappings().one_or_none()
    return None if row is None else _alert(row)


def told(session: Session, alert_id: int, now: datetime) -> None:
    """The webhook has heard of it."""
    session.execute(update(alert).where(alert.c.id == alert_id).values(notified_at=now, attempts=alert.c.attempts + 1))


def not_told(session: Session, alert_id: int, not_before: datetime) -> None:
    """The webhook did not listen."""
    waits = {"not_before": not_before, "attempts": alert.c.attempts + 1}
    session.execute(update(alert).where(alert.c.id == alert_id).values(**waits))


def count_by_kind(session: Session) -> dict[str, int]:
    """Open alerts; what somebody takes care of is not counted."""
    rows = session.execute(select(alert.c.kind, func.count()).where(OPEN).group_by(alert.c.kind))
    return dict(rows.all())


def listing(session: Session, everything: bool, limit: int = 200) -> list[dict[str, Any]]:
    """Open alerts for people, oldest first; or all of them, newest first."""
    query = select(alert).order_by(alert.c.id.desc()) if everything else select(alert).where(OPEN).order_by(alert.c.id)
    return [dict(row) for row in session.execute(query.limit(limit)).mappings()]
