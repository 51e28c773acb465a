"""The tables. SQL is the truth; everything else can be rebuilt or repeated."""

from node.catalog.tables.columns import metadata
from node.catalog.tables.forwarding import forward
from node.catalog.tables.keeping import alert, audit, audit_head, audit_repository, control, installation, journal
from node.catalog.tables.peers import destination, promise, sender
from node.catalog.tables.received import announcement, instance, patient, series, study
from node.catalog.tables.work import commitment, finding, job, message, missing, outbox, prefetch, result, worker
from node.catalog.tables.workflow import notification, subscription, workitem

__all__ = [
    "alert",
    "announcement",
    "audit",
    "audit_head",
    "audit_repository",
    "commitment",
    "control",
    "destination",
    "finding",
    "forward",
    "installation",
    "instance",
    "job",
    "journal",
    "message",
    "metadata",
    "missing",
    "notification",
    "outbox",
    "patient",
    "prefetch",
    "promise",
    "result",
    "sender",
    "series",
    "study",
    "subscription",
    "worker",
    "workitem",
]
