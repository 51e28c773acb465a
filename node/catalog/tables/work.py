"""Jobs, what they found, and where each result stands with each destination."""

from sqlalchemy import JSON, Column, Float, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from node.catalog.tables.columns import Id, Uid, count_column, id_column, metadata, of_column, text_column, time_column

job = Table(
    "job",
    metadata,
    id_column(),
    of_column("study", index=True),
    Column("series_id", Id, ForeignKey("series.id")),
    Column("revision", Integer, nullable=False),
    Column("pipeline", String(32), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("priority", Integer, nullable=False, default=0),
    time_column("turn_at", nullable=False),  # created_at, earlier by the priority: who waits gains on who comes
    Column("digest", String(64), nullable=False),
    Column("predecessor_job_id", Id, ForeignKey("job.id")),
    Column("attempts", Integer, nullable=False, default=0),
    count_column("economy"),  # 0: as usual; each step up needs less memory
    text_column("token"),
    text_column("worker", 255),
    time_column("created_at", nullable=False),
    time_column("not_before", nullable=False),
    time_column("published_at"),
    time_column("started_at"),
    time_column("lease_until"),
    time_column("finished_at"),
    text_column("stage"),
    Column("progress", Integer, nullable=False, default=0),
    text_column("outcome", 16),
    Column("reasons", JSON, nullable=False, default=list),
    text_column("failure", 32),
    Column("failure_text", Text, nullable=False, default=""),
    text_column("model_version"),
    text_column("weights_sha256"),
    Column("timings", JSON, nullable=False, default=dict),
    UniqueConstraint("study_id", "revision", "pipeline"),
    Index("ix_job_state_turn_at", "state", "turn_at", "id"),
)

finding = Table(
    "finding",
    metadata,
    id_column(),
    of_column("job", index=True),
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
    id_column(),
    of_column("job", index=True),
    Column("kind", String(8), nullable=False),
    Column("rung", Integer, nullable=False),
    Column("sop_class_uid", Uid, nullable=False),
    Column("sop_instance_uid", Uid, nullable=False, index=True),  # equal in two jobs of which only one was sent
    Column("series_instance_uid", Uid, nullable=False),
    Column("path", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    time_column("purged_at"),  # its file was removed by retention
    UniqueConstraint("job_id", "kind", "rung"),
)

outbox = Table(
    "outbox",
    metadata,
    id_column(),
    of_column("job", index=True),
    of_column("destination"),
    Column("kind", String(8), nullable=False),
    Column("state", String(16), nullable=False),
    Column("sop_instance_uid", Uid),
    Column("attempts", Integer, nullable=False, default=0),  # C-STOREs begun
    Column("failures", Integer, nullable=False, default=0),  # also connections that were not made
    Column("status", Integer),
    Column("error", Text, nullable=False, default=""),
    time_column("created_at", nullable=False),
    time_column("not_before", nullable=False),
    time_column("delivered_at"),
    UniqueConstraint("destination_id", "sop_instance_uid"),
    UniqueConstraint("destination_id", "job_id", "kind"),
    Index("ix_outbox_destination_state", "destination_id", "state", "not_before"),
)

worker = Table(
    "worker",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("slots", Integer, nullable=False),
    time_column("seen_at", nullable=False),
)
