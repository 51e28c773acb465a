"""Who may send to us, and whom we send to."""

from sqlalchemy import JSON, Boolean, Column, Float, Index, Integer, String, Table, Text, UniqueConstraint, false, true

from node.catalog.tables.columns import Uid, count_column, id_column, json_column, metadata, text_column, time_column

sender = Table(
    "sender",
    metadata,
    id_column(),
    Column("ae_title", String(16), nullable=False),
    Column("network", String(64), nullable=False),
    Column("standing", String(16), nullable=False),
    Column("configured", Integer, nullable=False, default=0),
    Column("gapless_quiet_s", Float, nullable=False),
    Column("quiet_s", Float, nullable=False),
    Column("max_study_age_days", Integer),
    count_column("priority"),
    text_column("pipeline", 16),  # empty in rows of who only waits
    count_column("tls_required"),
    Column("called", JSON, nullable=False, default=list, server_default="[]"),
    json_column("wish"),  # what it asked for while it was refused
    time_column("first_refused_at"),
    Column("may_query", Boolean, nullable=False, default=True, server_default=true()),
    Column("may_retrieve", Boolean, nullable=False, default=False, server_default=false()),
    text_column("certificate", 255),  # name that its certificate must have
    text_column("count_at", 16),  # destination that is asked how many images a study has
    count_column("commitment_port"),  # where it takes our answers to storage commitment; 0: it may not ask
    count_column("commitment_tls"),
    Column("refusals", Integer, nullable=False, default=0),
    time_column("last_refused_at"),
    UniqueConstraint("ae_title", "network"),
)

destination = Table(
    "destination",
    metadata,
    id_column(),
    Column("ae_title", String(16), nullable=False),
    Column("host", String(255), nullable=False),
    Column("port", Integer, nullable=False),
    Column("results", JSON, nullable=False),
    Column("not_analysed", Integer, nullable=False),
    Column("enabled", Integer, nullable=False),
    Column("commitment", String(16), nullable=False, default="off", server_default="off"),
    Column("retrieve", Boolean, nullable=False, default=True, server_default=true()),
    json_column("secured"),  # how TLS is spoken to it: names of files; empty where it is not
    Column("protocol", String(8), nullable=False, default="dicom", server_default="dicom"),
    Column("breaker", String(16), nullable=False, default="closed", server_default="closed"),
    count_column("breaker_failures"),  # in a row
    Column("breaker_reason", Text, nullable=False, default="", server_default=""),
    time_column("breaker_opened_at"),
    time_column("breaker_until"),
    UniqueConstraint("ae_title", "host", "port"),
)

promise = Table(  # what a sender asked us to keep
    "promise",
    metadata,
    id_column(),
    Column("transaction_uid", Uid, nullable=False),
    text_column("calling_ae_title", 16),
    text_column("address"),
    Column("wanted", JSON, nullable=False),  # (SOP Class UID, SOP Instance UID)
    Column("state", String(16), nullable=False),
    count_column("attempts"),  # at telling it
    time_column("asked_at", nullable=False),
    time_column("not_before", nullable=False),
    time_column("answered_at"),
    Column("error", Text, nullable=False, default="", server_default=""),
    UniqueConstraint("calling_ae_title", "transaction_uid"),
    Index("ix_promise_state_not_before", "state", "not_before"),
)
