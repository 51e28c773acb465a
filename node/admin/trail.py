"""The audit trail: read, checked, exported, and how far the audit repository has it."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict

from sqlalchemy.exc import SQLAlchemyError

from node.admin.opened import opened, reading
from node.admin.view import View
from node.catalog import audit, repository
from node.catalog.session import Catalog
from node.directory import anchors_of
from node.domain import audit as chain
from node.domain.audit import Event, EventKind
from node.settings import Settings


def _used(catalog: Catalog, how: str, study_uid: str = "") -> None:
    """Who reads the trail is in it (PS3.15 A.5.3: Audit Log Used); one that cannot be written is read all the same."""
    with suppress(SQLAlchemyError), catalog.writing() as session:
        event = Event(EventKind.AUDIT_USED, actor="operator", study_instance_uid=study_uid, detail={"how": how})
        audit.append(session, event)


def audit_list(settings: Settings, study_uid: str, kind: str, last: int) -> View:
    """The newest rows of the audit trail."""
    with opened(settings) as catalog:
        with catalog.reading() as session:
            found = audit.entries(session, study_instance_uid=study_uid, kind=kind, newest=last)
            rows = [asdict(each) for each in found]
        _used(catalog, "list", study_uid)
    return View(rows, ("seq", "at", "kind", "outcome", "actor", "address", "study_instance_uid", "detail"), rows)


def audit_verify(settings: Settings) -> View:
    """Check the chain. Well: nothing is wrong."""
    anchors = anchors_of(settings).all()
    with opened(settings) as catalog, catalog.reading() as session:
        head = audit.head(session)
        problems = chain.verify(audit.entries(session), head, anchors, catalog.audit_key)
    anchored = max((anchor.seq for anchor in anchors), default=0)
    note = "\n".join(problems) or f"{head.seq} rows verified."
    note += f"\nThe last anchor is at row {anchored}: a tail cut after it, head and all, cannot be seen."
    return View({"rows": head.seq, "anchored": anchored, "problems": problems}, note=note, well=not problems)


def audit_export(settings: Settings) -> Iterator[str]:
    """Every row as JSON."""
    with opened(settings) as catalog:
        _used(catalog, "export")
        with catalog.reading() as session:
            for entry in audit.entries(session):
                yield json.dumps(asdict(entry), ensure_ascii=False)


def audit_repository(settings: Settings) -> View:
    """How far the audit repository has the trail. Well: it answers, or there is none."""
    asked = settings.audit_repository
    with reading(settings) as session:
        stands, head, rows = repository.standing(session), audit.head(session).seq, repository.backlog(session)
    known = {"repository": asked.collector().place if asked else "", "rows": head, "forwarded": stands.seq,
             "backlog": rows if asked else 0, "last_answer": stands.answered_at, "failures": stands.failures,
             "failing_since": stands.failing_since, "error": stands.error}  # fmt: skip
    if not asked:
        return View(known, note="No audit repository is set; [audit_repository] of the settings names one.")
    clear = asked.transport == "udp"
    note = "UDP: nothing tells whether it arrives, and anybody on the way can read it." if clear else ""
    return View(known, tuple(known), [known], note, well=stands.failing_since is None)
