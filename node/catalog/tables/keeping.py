"""What the node keeps of itself: the audit trail, alerts, orders of the operator."""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from node.catalog.tables.columns import Id, Uid, count_column, id_column, json_column, metadata, time_column

alert = Table(
    "alert",
    metadata,
    id_column(),
    Column("kind", String(32), nullable=False),
    Column("subject", Text, nullable=False),  # what it is about: a job, a destination, a study; never a patient
    json_column("detail"),
    time_column("raised_at", nullable=False),
    time_column("cleared_at"),
    time_column("acknowledged_at"),
    time_column("notified_at"),
    count_column("attempts"),
    time_column("not_before", nullable=False),
    Index("ix_alert_kind_subject", "kind", "subject"),
)

journal = Table(  # how far each journal file of the spool is in the audit trail
    "journal",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("position", BigInteger, nullable=False),
)

control = Table(  # what an operator told the running node, such as to drain
    "control",
    metadata,
    Column("name", String(32), primary_key=True),
    json_column("value"),
    time_column("changed_at", nullable=False),
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

audit_repository = Table(  # how far the trail is forwarded; one row
    "audit_repository",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", Id, nullable=False, default=0, server_default="0"),
    Column("place", Text, nullable=False),
    time_column("answered_at"),
    count_column("failures"),
    time_column("failing_since"),
    Column("error", Text, nullable=False, default="", server_default=""),
)

installation = Table(
    "installation",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("serial", String(64), nullable=False),
)
