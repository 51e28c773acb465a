"""How the node is, and where each study stands."""

import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from node.admin.opened import reading
from node.admin.view import View, cell
from node.catalog import control, outbox, overview
from node.catalog import jobs as job_rows
from node.catalog.instant import now_of
from node.domain.delivery import OutboxState
from node.domain.job import JobState
from node.errors import Unavailable
from node.flow.enqueue import WORKER_SILENT_AFTER
from node.settings import Settings

OVERDUE_AFTER = timedelta(hours=1)
"""A result that could be sent for so long and has failed: its destination is more than restarting."""


def status(settings: Settings) -> View:
    """Counts by state, and the disk. Well: nothing there needs a person."""
    now = datetime.now(UTC)
    with reading(settings) as session:
        data: dict[str, Any] = {
            "studies": overview.studies_by_outcome(session),
            "jobs": job_rows.count_by_state(session),
            "workers": job_rows.slots(session, now_of(session) - WORKER_SILENT_AFTER),
            "drained": control.is_drained(session),
            "results": outbox.count_by_state(session),
            "results_overdue": overview.overdue(session, now - OVERDUE_AFTER),
            "results_stranded": overview.stranded(session),
            "conflicts": overview.conflicts(session),
        }
    usage = shutil.disk_usage(settings.data)
    low = usage.free < max(settings.minimum_free_gib * 2**30, settings.minimum_free_fraction * usage.total)
    data |= {"disk_free_gib": round(usage.free / 2**30, 1), "disk_low": low}
    rows = [{"what": name, "state": value} for name, value in data.items()]
    return View(data, ("what", "state"), rows, well=not any(_troubles(data)))


def _troubles(data: Mapping[str, Any]) -> Iterator[object]:
    """What in a status needs a person, where it is true or not zero."""
    yield data["jobs"].get(JobState.DEAD)
    yield data["jobs"].get(JobState.QUEUED) and not data["workers"]
    yield data["drained"]
    yield data["results"].get(OutboxState.REFUSED)
    yield from (data[name] for name in ("results_overdue", "results_stranded", "conflicts", "disk_low"))


def studies(settings: Settings) -> View:
    """One row a study; names no patient."""
    with reading(settings) as session:
        rows = overview.studies(session)
    columns = ("study_instance_uid", "state", "evidence", "images", "job", "outcome", "delivery", "last_received_at")
    return View(rows, columns, rows)


def study(settings: Settings, study_instance_uid: str) -> View:
    """Everything about one study: why it counts as complete, what was chosen, how it ended."""
    with reading(settings) as session:
        data = overview.study_detail(session, study_instance_uid)
    if data is None:
        raise Unavailable("There is no such study.")
    columns = ("series_instance_uid", "modality", "images", "state", "evidence", "eligibility", "reasons")
    ending = f"{data['outcome'] or 'none yet'} {cell(data['reasons'])}"
    note = f"{data['state']} ({data['evidence'] or 'waiting'}); outcome: {ending}"
    for job in data["jobs"]:
        note += f"\njob {job['id']} revision {job['revision']} {job['kind']} {job['state']} {job['outcome']}"
        note += "".join(f"\n  {f['ordinal']} {f['summary']}" for f in job["findings"])
        note += "".join(f"\n  {r['ae_title']} {r['kind']} {r['state']} {r['error']}" for r in job["results"])
    return View(data, columns, data["series"], note)
