"""How the node is, and where each study stands."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from node.admin.evidence import explained
from node.admin.opened import reading
from node.admin.view import View, cell
from node.catalog import alerts, breakers, control, outbox, overview
from node.catalog import jobs as job_rows
from node.catalog.instant import now_of
from node.directory import disk_of
from node.domain.alert import OVERDUE_AFTER
from node.domain.breaker import BreakerState
from node.domain.job import JobState
from node.errors import Unavailable
from node.flow.enqueue import WORKER_SILENT_AFTER
from node.settings import Settings


def status(settings: Settings) -> View:
    """Counts by state, and the disk. Well: nothing there needs a person."""
    now = datetime.now(UTC)
    with reading(settings) as session:
        data: dict[str, Any] = {
            "studies": overview.studies_by_outcome(session),
            "jobs": job_rows.count_by_state(session),
            "jobs_dead": len(job_rows.dead(session)),
            "workers": job_rows.slots(session, now_of(session) - WORKER_SILENT_AFTER),
            "drained": control.is_drained(session),
            "results": outbox.count_by_state(session),
            "results_refused": sum(outbox.missed(session).values()),
            "results_overdue": sum(outbox.overdue(session, now - OVERDUE_AFTER).values()),
            "results_stranded": overview.stranded(session),
            "destinations": breakers.count_by_state(session),
            "conflicts": overview.conflicts(session),
            "alerts": alerts.count_by_kind(session),
        }
    free, water_mark = disk_of(settings)
    data |= {"disk_free_gib": round(free / 2**30, 1), "disk_low": free < water_mark}
    rows = [{"what": name, "state": value} for name, value in data.items()]
    return View(data, ("what", "state"), rows, well=not any(_troubles(data)))


def _troubles(data: Mapping[str, Any]) -> Iterator[object]:
    """What in a status needs a person, where it is true or not zero."""
    yield data["jobs"].get(JobState.QUEUED) and not data["workers"]
    yield data["drained"]
    yield data["alerts"]
    yield data["destinations"].keys() - {BreakerState.CLOSED}
    for name in ("jobs_dead", "results_refused", "results_overdue", "results_stranded", "conflicts", "disk_low"):
        yield data[name]


def studies(settings: Settings) -> View:
    """One row a study; names no patient."""
    with reading(settings) as session:
        rows = overview.studies(session)
    columns = ("study_instance_uid", "state", "evidence", "images", "job", "outcome", "delivery", "last_received_at",
               "purged_at")  # fmt: skip
    return View(rows, columns, rows)


def study(settings: Settings, study_instance_uid: str) -> View:
    """Everything about one study: why it counts as complete, what was chosen, how it ended."""
    with reading(settings) as session:
        found = overview.study_detail(session, study_instance_uid)
        if found is None:
            raise Unavailable("There is no such study.")
        data = explained(session, found)
    columns = ("series_instance_uid", "modality", "images", "state", "evidence", "eligibility", "reasons")
    ending = f"{data['outcome'] or 'none yet'} {cell(data['reasons'])}"
    note = f"{data['why']}\noutcome: {ending}"
    note += "".join(f"\nseries {each['series_instance_uid']}: {each['why']}" for each in data["series"])
    for job in data["jobs"]:
        note += f"\njob {job['id']} revision {job['revision']} {job['kind']} {job['state']} {job['outcome']}"
        note += "".join(f"\n  {f['ordinal']} {f['summary']}" for f in job["findings"])
        note += "".join(f"\n  {r['ae_title']} {r['kind']} {r['state']} {r['error']}" for r in job["results"])
    return View(data, columns, data["series"], note)
