"""What was decided about each study: which rule fired, and what is done with it."""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from node.catalog import peers
from node.catalog.tables import instance, series, study
from node.domain.route import Decision, decision_of
from node.domain.study import Completeness, VersionKind


def of(session: Session, study_id: int) -> Decision:
    """What stands."""
    return decision_of(session.execute(select(study.c.routing).where(study.c.id == study_id)).scalar_one())


def keep(session: Session, study_id: int, decision: Decision) -> bool:
    """From now on this stands. False: it did before."""
    if of(session, study_id) == decision:
        return False
    session.execute(update(study).where(study.c.id == study_id).values(routing=decision.kept()))
    return True


def priority_of(session: Session, study_id: int) -> int:
    """Of the analysis of a study: what was decided, else that of its sender."""
    decided = of(session, study_id).route.priority
    query = select(study.c.calling_ae_title, study.c.address).where(study.c.id == study_id)
    ae_title, address = session.execute(query).one()
    return peers.priority_of(session, ae_title, address) if decided is None else decided


def caller(session: Session, study_id: int) -> tuple[str, str, str]:
    """AE title and address of who sent something of a study last, and the AE title of ours that it called."""
    columns = (study.c.calling_ae_title, study.c.address, study.c.called_ae_title)
    ae_title, address, called = session.execute(select(*columns).where(study.c.id == study_id)).one()
    return ae_title, address, called


def samples(session: Session, study_id: int, most: int) -> dict[int, list[str]]:
    """Series id to paths of some of its images that count and are here, of each complete series of a study."""
    query = (
        select(series.c.id, instance.c.path)
        .join(instance, instance.c.series_id == series.c.id)
        .where(
            series.c.study_id == study_id,
            series.c.state == Completeness.COMPLETE,
            instance.c.version == VersionKind.AUTHORITATIVE,
            instance.c.purged_at.is_(None),
        )
        .order_by(series.c.id, instance.c.id)
    )
    found: dict[int, list[str]] = {}
    for series_id, path in session.execute(query):
        paths = found.setdefault(series_id, [])
        if len(paths) < most:
            paths.append(path)
    return found
