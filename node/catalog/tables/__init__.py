"""The tables. SQL is the truth; everything else can be rebuilt or repeated."""

from node.catalog.tables.columns import metadata
from node.catalog.tables.keeping import alert, audit, audit_head, control, installation, journal
from node.catalog.tables.peers import destination, sender
from node.catalog.tables.received import instance, patient, series, study
from node.catalog.tables.work import finding, job, outbox, result, worker

__all__ = [
    "alert",
    "audit",
    "audit_head",
    "control",
    "destination",
    "finding",
    "installation",
    "instance",
    "job",
    "journal",
    "metadata",
    "outbox",
    "patient",
    "result",
    "sender",
    "series",
    "study",
    "worker",
]
