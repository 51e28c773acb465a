"""Alerts: what needs a person, and who takes care of it."""

from datetime import UTC, datetime

from node.admin.opened import opened, reading
from node.admin.view import View
from node.catalog import alerts as alert_rows
from node.settings import Settings


def alerts(settings: Settings, everything: bool) -> View:
    """One row an alert. Well: none is open."""
    with reading(settings) as session:
        rows = alert_rows.listing(session, everything)
        well = not alert_rows.count_by_kind(session)
    columns = ("id", "kind", "subject", "detail", "raised_at", "notified_at", "acknowledged_at", "cleared_at")
    return View(rows, columns, rows, well=well)


def acknowledge(settings: Settings, alert_id: int) -> View:
    """Somebody takes care of an alert. Raises Unavailable."""
    with opened(settings) as catalog, catalog.writing() as session:
        condition = alert_rows.acknowledge(session, alert_id, datetime.now(UTC)).condition
    return View(
        {"id": alert_id, "kind": condition.kind, "subject": condition.subject},
        note=f"Alert {alert_id} ({f'{condition.kind} {condition.subject}'.strip()}) is not counted any more.",
    )
