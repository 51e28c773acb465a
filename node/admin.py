"""What the commands do: each returns a View, which a person reads as a table and a script as JSON."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from io import StringIO
from ipaddress import ip_network
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from node.catalog import audit, outbox, overview, peers, revisions
from node.catalog import jobs as job_rows
from node.catalog import studies as study_rows
from node.catalog.session import Catalog
from node.dicom import store_scu
from node.directory import anchors_of, catalog_of, has_catalog
from node.domain import audit as chain
from node.domain.audit import Event, EventKind
from node.domain.delivery import OutboxState
from node.domain.job import JobKind, JobState
from node.domain.peers import Sender, Standing
from node.errors import CatalogError, PeerFailed, SettingsError, Unavailable
from node.flow.enqueue import WORKER_SILENT_AFTER
from node.settings import Settings

Row = Mapping[str, Any]
OVERDUE_AFTER = timedelta(hours=1)
"""A result that could be sent for so long and has failed: its destination is more than restarting."""


@dataclass(frozen=True)
class View:
    """What a command found."""

    data: Any
    """For --json."""
    columns: Sequence[str] = ()
    rows: Sequence[Row] = field(default_factory=list)
    """For the table."""
    note: str = ""
    """A sentence under the table."""
    well: bool = True
    """Exit code 0."""

    def text(self) -> str:
        """As a person reads it."""
        out = StringIO()
        console = Console(file=out, width=shutil.get_terminal_size((160, 40)).columns, highlight=False)
        if self.columns:
            table = Table(*(name.replace("_", " ") for name in self.columns), box=None, pad_edge=False)
            for row in self.rows:
                table.add_row(*(_cell(row.get(name)) for name in self.columns))
            console.print(table)
        if self.note:
            console.print(self.note)
        return out.getvalue().rstrip("\n")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value.astimezone():%Y-%m-%d %H:%M:%S}"
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    return str(value)


@contextmanager
def _open(settings: Settings) -> Iterator[Catalog]:
    """The catalog of a data directory where a node has run. Raises Unavailable."""
    if not settings.data.is_dir():
        raise Unavailable(f"There is no data directory {settings.data}; name it with --data or NODUS_DATA.")
    if not has_catalog(settings):
        raise Unavailable(f"No node has run here: {settings.data} holds no catalog; `nodus up` makes one.")
    catalog = catalog_of(settings)
    try:
        catalog.migrate()
        yield catalog
    except OperationalError as error:
        raise CatalogError("The database does not answer, or is not one of Nodus.") from error
    finally:
        catalog.close()


@contextmanager
def _reading(settings: Settings) -> Iterator[Session]:
    with _open(settings) as catalog, catalog.reading() as session:
        yield session


def status(settings: Settings) -> View:
    """Counts by state, and the disk. Well: nothing there needs a person."""
    now = datetime.now(UTC)
    with _reading(settings) as session:
        data: dict[str, Any] = {
            "studies": overview.studies_by_outcome(session),
            "jobs": job_rows.count_by_state(session),
            "workers": job_rows.slots(session, now - WORKER_SILENT_AFTER),
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
    yield data["results"].get(OutboxState.REFUSED)
    yield from (data[name] for name in ("results_overdue", "results_stranded", "conflicts", "disk_low"))


def studies(settings: Settings) -> View:
    """One row a study; names no patient."""
    with _reading(settings) as session:
        rows = overview.studies(session)
    columns = ("study_instance_uid", "state", "evidence", "images", "job", "outcome", "delivery", "last_received_at")
    return View(rows, columns, rows)


def study(settings: Settings, study_instance_uid: str) -> View:
    """Everything about one study: why it counts as complete, what was chosen, how it ended."""
    with _reading(settings) as session:
        data = overview.study_detail(session, study_instance_uid)
    if data is None:
        raise Unavailable("There is no such study.")
    columns = ("series_instance_uid", "modality", "images", "state", "evidence", "eligibility", "reasons")
    ending = f"{data['outcome'] or 'none yet'} {_cell(data['reasons'])}"
    note = f"{data['state']} ({data['evidence'] or 'waiting'}); outcome: {ending}"
    for job in data["jobs"]:
        note += f"\njob {job['id']} revision {job['revision']} {job['kind']} {job['state']} {job['outcome']}"
        note += "".join(f"\n  {f['ordinal']} {f['summary']}" for f in job["findings"])
        note += "".join(f"\n  {r['ae_title']} {r['kind']} {r['state']} {r['error']}" for r in job["results"])
    return View(data, columns, data["series"], note)


def jobs(settings: Settings, state: str) -> View:
    """One row a job."""
    if state and state not in list(JobState):
        raise SettingsError(f"There is no job state {state!r}; there are {', '.join(JobState)}.")
    with _reading(settings) as session:
        rows = job_rows.listing(session, state)
    columns = ("id", "study_instance_uid", "revision", "kind", "state", "stage", "progress", "attempts", "outcome",
               "failure_text")  # fmt: skip
    return View(rows, columns, rows)


def retry(settings: Settings, job_id: int) -> View:
    """Open a new revision for the study of a dead job: the same analysis, or the same notice, again."""
    with _open(settings) as catalog, catalog.writing() as session:
        job, now = job_rows.get(session, job_id), datetime.now(UTC)
        if job.state is not JobState.DEAD:
            raise CatalogError(f"Job {job_id} is {job.state}, only a dead one can be retried.")
        uid = job.study_instance_uid
        if job.kind is JobKind.NOTICE:  # a notice leaves dead jobs in sight; this one it replaces
            job_rows.change_state(session, job, JobState.SUPERSEDED)
            audit.append(session, Event(EventKind.JOB_SUPERSEDED, study_instance_uid=uid, job_id=job.id, at=now))
        else:
            study_rows.set_outcome(session, job.study_id, "", ())
        new = revisions.open_revision(session, _same_again(job), now)
        event = Event(EventKind.JOB_RETRIED, actor="operator", study_instance_uid=uid, job_id=new, at=now)
        audit.append(session, event)
    return View({"job": new}, note=f"Job {new} takes the place of job {job_id}.")


def _same_again(job: job_rows.Job) -> revisions.Plan:
    reasons = job.reasons if job.kind is JobKind.NOTICE else ()
    return revisions.Plan(job.study_id, job.kind, job.series_id, job.digest, reasons)


def senders(settings: Settings) -> View:
    """One row a sender."""
    with _reading(settings) as session:
        rows = peers.sender_listing(session)
    columns = ("ae_title", "network", "standing", "refusals", "last_refused_at", "gapless_quiet_s", "quiet_s")
    return View(rows, columns, rows)


def decide(settings: Settings, caller: str, standing: Standing) -> View:
    """Allow or deny a caller. Raises SettingsError for what is not AET@NETWORK."""
    ae_title, _, network = caller.partition("@")
    try:
        place = str(ip_network(network, strict=False))
    except ValueError:
        raise SettingsError(f"{caller!r} is not AET@NETWORK, such as CT1@10.0.0.5 or *@10.0.0.0/24.") from None
    if not ae_title or len(ae_title) > 16:
        raise SettingsError("An AE title has 1 to 16 characters; * is any.")
    decision = Sender(ae_title, place, standing)
    with _open(settings) as catalog, catalog.writing() as session:
        peers.decide(session, decision)
        detail = {"ae_title": ae_title, "network": place, "standing": str(standing)}
        audit.append(session, Event(EventKind.SENDER_CHANGED, actor="operator", detail=detail))
    return View(asdict(decision), note=f"{ae_title} from {place} is {standing}.")


def destinations(settings: Settings) -> View:
    """One row a destination."""
    with _reading(settings) as session:
        rows = peers.destination_listing(session)
    return View(rows, ("ae_title", "host", "port", "results", "enabled", "outbox"), rows)


def echo(settings: Settings) -> View:
    """C-ECHO to each enabled destination. Well: all answer."""
    with _reading(settings) as session:
        known = peers.destinations(session)
    rows = []
    for each in known:
        peer = each.destination
        try:
            store_scu.echo(settings.ae_title, peer)
            answer = "ok"
        except PeerFailed as error:
            answer = str(error)
        rows.append({"ae_title": peer.ae_title, "host": peer.host, "port": peer.port, "answer": answer})
    return View(rows, ("ae_title", "host", "port", "answer"), rows, well=all(row["answer"] == "ok" for row in rows))


def audit_list(settings: Settings, study_uid: str, kind: str, last: int) -> View:
    """The newest rows of the audit trail."""
    with _reading(settings) as session:
        rows = [asdict(e) for e in audit.entries(session, study_instance_uid=study_uid, kind=kind, newest=last)]
    return View(rows, ("seq", "at", "kind", "outcome", "actor", "address", "study_instance_uid", "detail"), rows)


def audit_verify(settings: Settings) -> View:
    """Check the chain. Well: nothing is wrong."""
    anchors = anchors_of(settings).all()
    with _open(settings) as catalog, catalog.reading() as session:
        head = audit.head(session)
        problems = chain.verify(audit.entries(session), head, anchors, catalog.audit_key)
    anchored = max((anchor.seq for anchor in anchors), default=0)
    note = "\n".join(problems) or f"{head.seq} rows verified."
    note += f"\nThe last anchor is at row {anchored}: a tail cut after it, head and all, cannot be seen."
    return View({"rows": head.seq, "anchored": anchored, "problems": problems}, note=note, well=not problems)


def audit_export(settings: Settings) -> Iterator[str]:
    """Every row as JSON."""
    with _reading(settings) as session:
        for entry in audit.entries(session):
            yield json.dumps(asdict(entry), ensure_ascii=False)
