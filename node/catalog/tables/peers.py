"""Who may send to us, and whom we send to."""

from sqlalchemy import JSON, Column, Float, Integer, String, Table, Text, UniqueConstraint

from node.catalog.tables.columns import count_column, id_column, metadata, time_column

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
    Column("breaker", String(16), nullable=False, default="closed", server_default="closed"),
    count_column("breaker_failures"),  # in a row
    Column("breaker_reason", Text, nullable=False, default="", server_default=""),
    time_column("breaker_opened_at"),
    time_column("breaker_until"),
    UniqueConstraint("ae_title", "host", "port"),
)
