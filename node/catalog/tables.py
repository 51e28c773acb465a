"""The tables. SQL is the truth; everything else can be rebuilt or repeated."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from node.catalog.instant import Utc

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMES)
Id = BigInteger().with_variant(Integer, "sqlite")
Uid = Text()
"""No length: what senders write is kept as it is."""


def _id() -> Column[int]:
    return Column("id", Id, primary_key=True, autoincrement=True)


def _of(table: str, **more: Any) -> Column[int]:
    return Column(f"{table}_id", Id, ForeignKey(f"{table}.id"), nullable=False, **more)


def _text(name: str, length: int = 64) -> Column[str]:
    return Column(name, String(length), nullable=False, default="", server_default="")


def _time(name: str, **more: Any) -> Column[datetime]:
    return Column(name, Utc, **more)


patient = Table(
    "patient",
    metadata,
    _id(),
    Column("patient_id", Text, nullable=False),
    Column("issuer_of_patient_id", Text, nullable=False),
    Column("patient_name", Text, nullable=False),
    Column("patient_birth_date", Text, nullable=False),
    Column("patient_sex", Text, nullable=False),
    Column("identity", String(64), nullable=False, unique=True),  # SHA-256 of the five: who shares an id is not merged
)

study = Table(
    "study",
    metadata,
    _id(),
    _of("patient", index=True),
    Column("study_instance_uid", Uid, nullable=False, unique=True),
    Column("study_date", Text, nullable=False, index=True),
    Column("study_time", Text, nullable=False),
    Column("accession_number", Text, nullable=False, index=True),
    Column("study_id", Text, nullable=False),
    Column("study_description", Text, nullable=False),
    Column("referring_physician_name", Text, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("revision", Integer, nullable=False, default=0),
    _text("evidence"),
    _text("outcome", 16),
    Column("reasons", JSON, nullable=False, default=list),
    Column("conflicts", Integer, nullable=False, default=0),
    _time("first_received_at", nullable=False),
    _time("last_received_at", nullable=False),
    _time("completed_at"),
    _text("last_association_id"),
    _text("calling_ae_title", 16),
    _text("address"),
)

series = Table(
    "series",
    metadata,
    _id(),
    _of("study", index=True),
    Column("series_instance_uid", Uid, nullable=False),
    Column("modality", Text, nullable=False),
    Column("series_number", Integer),
    Column("series_description", Text, nullable=False),
    Column("body_part_examined", Text, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    _text("evidence"),
    _text("eligibility", 16),
    Column("reasons", JSON, nullable=False, default=list),
    Column("score", JSON, nullable=False, default=list),
    _text("digest"),
    _time("first_received_at", nullable=False),
    _time("last_received_at", nullable=False),
    _text("last_association_id"),
    _text("calling_ae_title", 16),
    _text("address"),
    UniqueConstraint("study_id", "series_instance_uid"),
)

instance = Table(
    "instance",
    metadata,
    _id(),
    _of("series", index=True),
    Column("sop_instance_uid", Uid, nullable=False, index=True),
    Column("sop_class_uid", Uid, nullable=False),
    Column("transfer_syntax_uid", Uid, nullable=False),
    Column("instance_number", Integer),
    Column("rows", Integer),
    Column("columns", Integer),
    Column("header", JSON(none_as_null=True)),  # of CT images only
    Column("path", Text, nullable=False, unique=True),
    Column("digest", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("version", String(16), nullable=False),
    _time("received_at", nullable=False),
    _text("association_id"),
    _text("calling_ae_title", 16),
)

job = Table(
    "job",
    metadata,
    _id(),
    _of("study", index=True),
    Column("series_id", Id, ForeignKey("series.id")),
    Column("revision", Integer, nullable=False),
    Column("pipeline", String(32), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("priority", Integer, nullable=False, default=0),
    Column("digest", String(64), nullable=False),
    Column("predecessor_job_id", Id, ForeignKey("job.id")),
    Column("attempts", Integer, nullable=False, default=0),
    _text("token"),
    _text("worker", 255),
    _time("created_at", nullable=False),
    _time("not_before", nullable=False),
    _time("published_at"),
    _time("started_at"),
    _time("lease_until"),
    _time("finished_at"),
    _text("stage"),
    Column("progress", Integer, nullable=False, default=0),
    _text("outcome", 16),
    Column("reasons", JSON, nullable=False, default=list),
    _text("failure", 32),
    Column("failure_text", Text, nullable=False, default=""),
    _text("model_version"),
    _text("weights_sha256"),
    Column("timings", JSON, nullable=False, default=dict),
    UniqueConstraint("study_id", "revision", "pipeline"),
    Index("ix_job_state_priority", "state", "priority", "id"),
)

finding = Table(
    "finding",
    metadata,
    _id(),
    _of("job", index=True),
    Column("ordinal", Integer, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("type", String(16), nullable=False),
    Column("side", String(16), nullable=False),
    Column("mean_diameter_mm", Float, nullable=False),
    Column("volume_mm3", Float),
    Column("content", JSON, nullable=False),
    UniqueConstraint("job_id", "ordinal"),
)

result = Table(
    "result",
    metadata,
    _id(),
    _of("job", index=True),
    Column("kind", String(8), nullable=False),
    Column("rung", Integer, nullable=False),
    Column("sop_class_uid", Uid, nullable=False),
    Column("sop_instance_uid", Uid, nullable=False, index=True),  # equal in two jobs of which only one was sent
    Column("series_instance_uid", Uid, nullable=False),
    Column("path", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    UniqueConstraint("job_id", "kind", "rung"),
)

outbox = Table(
    "outbox",
    metadata,
    _id(),
    _of("job", index=True),
    _of("destination"),
    Column("kind", String(8), nullable=False),
    Column("state", String(16), nullable=False),
    Column("sop_instance_uid", Uid),
    Column("attempts", Integer, nullable=False, default=0),  # C-STOREs begun
    Column("failures", Integer, nullable=False, default=0),  # also connections that were not made
    Column("status", Integer),
    Column("error", Text, nullable=False, default=""),
    _time("created_at", nullable=False),
    _time("not_before", nullable=False),
    _time("delivered_at"),
    UniqueConstraint("destination_id", "sop_instance_uid"),
    UniqueConstraint("destination_id", "job_id", "kind"),
    Index("ix_outbox_destination_state", "destination_id", "state", "not_before"),
)

sender = Table(
    "sender",
    metadata,
    _id(),
    Column("ae_title", String(16), nullable=False),
    Column("network", String(64), nullable=False),
    Column("standing", String(16), nullable=False),
    Column("configured", Integer, nullable=False, default=0),
    Column("gapless_quiet_s", Float, nullable=False),
    Column("quiet_s", Float, nullable=False),
    Column("refusals", Integer, nullable=False, default=0),
    _time("last_refused_at"),
    UniqueConstraint("ae_title", "network"),
)

destination = Table(
    "destination",
    metadata,
    _id(),
    Column("ae_title", String(16), nullable=False),
    Column("host", String(255), nullable=False),
    Column("port", Integer, nullable=False),
    Column("results", JSON, nullable=False),
    Column("not_analysed", Integer, nullable=False),
    Column("enabled", Integer, nullable=False),
    UniqueConstraint("ae_title", "host", "port"),
)

worker = Table(
    "worker",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("slots", Integer, nullable=False),
    _time("seen_at", nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Id, primary_key=True, autoincrement=False),
    Column("at", String(40), nullable=False),
    Column("kind", String(32), nullable=False, index=True),
    Column("outcome", Integer, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("address", Text, nullable=False),
    Column("study_instance_uid", Uid, nullable=False, index=True),
    Column("job_id", Id),
    Column("detail", Text, nullable=False),
    Column("hash", String(64), nullable=False),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", Id, nullable=False),
    Column("hash", String(64), nullable=False),
)

installation = Table(
    "installation",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("serial", String(64), nullable=False),
)
