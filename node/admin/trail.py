"""The audit trail: read, checked, exported."""

import json
from collections.abc import Iterator
from dataclasses import asdict

from node.admin.opened import opened, reading
from node.admin.view import View
from node.catalog import audit
from node.directory import anchors_of
from node.domain import audit as chain
from node.settings import Settings


def audit_list(settings: Settings, study_uid: str, kind: str, last: int) -> View:
    """The newest rows of the audit trail."""
    with reading(settings) as session:
        rows = [asdict(e) for e in audit.entries(session, study_instance_uid=study_uid, kind=kind, newest=last)]
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
    with reading(settings) as session:
        for entry in audit.entries(session):
            yield json.dumps(asdict(entry), ensure_ascii=False)
