"""How the node is, and where each study stands."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from node.admin.evidence import explained
from node.admin.opened import reading
from node.admin.rules import routed
from node.admin.view import View, cell
from node.catalog import alerts, breakers, commitments, control, forwards, outbox, overview
from node.catalog import jobs as job_rows
from node.catalog.instant import now_of
from node.directory import disk_of
from node.domain import prior
from node.domain.alert import OVERDUE_AFTER, certificate_conditions
from node.domain.breaker import BreakerState
from node.domain.job import JobState, model_in_shadow
from node.errors import Unavailable
from node.listening import endings
from node.settings import Settings


def status(settings: Settings) -> View:
    """Counts by state, and the disk. Well: nothing there needs a person."""
    now = datetime.now(UTC)
    with reading(settings) as session:
        data: dict[str, Any] = {
            "studies": overview.studies_by_outcome(session),
            "jobs": job_rows.count_by_state(session),
            "jobs_dead": len(job_rows.dead(session)),
            "jobs_in_shadow": job_rows.count_by_state(session, shadow=True),
            "workers": job_rows.slots(session, now_of(session) - job_rows.WORKER_SILENT_AFTER),
            "drained": control.is_drained(session),
            "results": outbox.count_by_state(session),
            "results_refused": sum(outbox.missed(session).values()),
            "results_overdue": sum(outbox.overdue(session, now - OVERDUE_AFTER).values()),
            "results_unconfirmed": sum(commitments.unconfirmed(session, now).values()),
            "results_stranded": overview.stranded(session),
            "forwards": forwards.count_by_state(session),
            "forwards_refused": sum(forwards.missed(session).values()),
            "forwards_overdue": sum(forwards.overdue(session, now - OVERDUE_AFTER).values()),
            "destinations": breakers.count_by_state(session),
            "conflicts": overview.conflicts(session),
            "alerts": alerts.count_by_kind(session),
        }
    data["certificates_ending"] = {each.subject: each.kind for each in certificate_conditions(endings(settings), now)}
    free, water_mark = disk_of(settings)
    data |= {"disk_free_gib": round(free / 2**30, 1), "disk_low": free < water_mark}
    rows = [{"what": name, "state": value} for name, value in data.items()]
    return View(data, ("what", "state"), rows, well=not any(_troubles(data)))


TROUBLES = (
    *("jobs_dead", "results_refused", "results_overdue", "results_unconfirmed", "results_stranded"),
    *("forwards_refused", "forwards_overdue", "conflicts", "certificates_ending", "disk_low"),
)


def _troubles(data: Mapping[str, Any]) -> Iterator[object]:
    """What in a status needs a person, where it is true or not zero."""
    yield data["jobs"].get(JobState.QUEUED) and not data["workers"]
    yield data["drained"]
    yield data["alerts"]
    yield data["destinations"].keys() - {BreakerState.CLOSED}
    for name in TROUBLES:
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
    note = f"{data['why']}\noutcome: {ending}{routed(data)}"
    note += "".join(f"\nforwarded to {ae_title}: {cell(counts)}" for ae_title, counts in data["forwards"].items())
    note += "".join(_told(each) for each in data["told"])
    note += _asked(data["missing"]) if data["missing"] else ""
    note += "".join(f"\nseries {each['series_instance_uid']}: {each['why']}" for each in data["series"])
    note += "".join(_job(each) for each in data["jobs"]) + "".join(_beside(each) for each in data["comparisons"])
    return View(data, columns, data["series"], note)


def _told(one: Mapping[str, Any]) -> str:
    """What a modality or an archive told of a study."""
    return f"\n{one['teller']} {one['state'].lower()}: {one['images']} images in {len(one['series'])} series"


def _asked(archive: Mapping[str, Any]) -> str:
    """What became of images that were told of and did not come."""
    times = "once" if archive["tries"] == 1 else f"{archive['tries']} times"
    return f"\nmissing images: {archive['archive']} was asked {times}: {archive['said'] or 'no answer yet'}"


def _job(job: Mapping[str, Any]) -> str:
    """What it found, and where its results are."""
    what = job["pipeline"] if model_in_shadow(job["pipeline"]) else job["kind"]
    lines = [f"job {job['id']} revision {job['revision']} {what} {job['state']} {job['outcome']}"]
    lines += [f"  {each['ordinal']} {each['summary']}" for each in job["findings"]]
    lines += [f"  {sentence}" for sentence in job["guidance"].get("sentences", ())]
    lines += [f"  {told}" for told in [prior.summary(job["comparison"])] if told]
    lines += [f"  {each['ae_title']} {each['kind']} {each['state']} {each['error']}" for each in job["results"]]
    lines += [
        f"  {each['ae_title']} by {each['proof']}: {each['state']} {each['error']}" for each in job["commitments"]
    ]
    lines += [f"  {path}" for path in job["files"] if model_in_shadow(job["pipeline"])]
    return "".join(f"\n{line}" for line in lines)


def _beside(one: Mapping[str, Any]) -> str:
    """A reading and one in shadow."""
    lines = [
        f"beside job {one['job']}, {one['shadow']} in shadow (job {one['shadow_job']}): {one['found']} and "
        f"{one['found_in_shadow']} nodules, {one['same_place']} at the same place"
    ]
    for which in ("reading", "shadow"):
        lines += [f"  only the {which}: {each['finding']} {each['summary']}" for each in one[f"only_{which}"]]
    return "".join(f"\n{line}" for line in lines)
