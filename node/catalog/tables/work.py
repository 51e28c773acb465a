"""Jobs, what they found, and where each result stands with each destination."""

from sqlalchemy import JSON, Column, Float, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from node.catalog.tables.columns import (
    Id,
    Uid,
    count_column,
    id_column,
    json_column,
    list_column,
    metadata,
    of_column,
    text_column,
    time_column,
)

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
    json_column("guidance"),  # what clinical rules say of it
    text_column("read_by"),  # SHA-256 over chain, networks and thresholds: what it found, another of the same would
    json_column("comparison"),  # what became of its nodules since an earlier exam
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
    text_column("tracking_uid"),  # under which it is reported
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
    list_column("refers_to"),  # SOP Instance UIDs of other results that a destination must have before
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

message = Table(  # HL7 messages, as each is sent however often
    "message",
    metadata,
    id_column(),
    of_column("outbox", unique=True),
    Column("control_id", String(20), nullable=False),  # MSH-10
    Column("content", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    time_column("made_at", nullable=False),
)

commitment = Table(  # each time that a destination was asked whether it has the results of a job
    "commitment",
    metadata,
    id_column(),
    of_column("job", index=True),
    of_column("destination"),
    Column("transaction_uid", Uid, unique=True),  # none where it was asked by C-FIND, or could not be asked
    Column("proof", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", JSON, nullable=False),  # of each SOP Instance UID that was asked for: C-STOREs until then
    count_column("asks"),  # in a row without an answer, this one included
    count_column("rounds"),  # answers by which something was missing
    time_column("since", nullable=False),  # when it was asked first
    time_column("asked_at", nullable=False),
    time_column("not_before", nullable=False),  # when it is asked again
    time_column("answered_at"),
    Column("error", Text, nullable=False, default="", server_default=""),
    Index("ix_commitment_destination_state", "destination_id", "state", "not_before"),
)

worker = Table(
    "worker",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("slots", Integer, nullable=False),
    time_column("seen_at", nullable=False),
)

prefetch = Table(  # for each study that is to be read: whether the archive was asked for an earlier exam, and what came
    "prefetch",
    metadata,
    id_column(),
    of_column("study", unique=True),
    Column("state", String(16), nullable=False, index=True),
    Column("prior_study_instance_uid", Uid, nullable=False, default="", server_default="", index=True),
    Column("reason", Text, nullable=False, default="", server_default=""),
    time_column("until", nullable=False),  # the reading waits no longer
    time_column("ended_at"),
)

missing = Table(  # for each study of which fewer images came than were told of: what an archive was asked for
    "missing",
    metadata,
    id_column(),
    of_column("study", unique=True),
    text_column("ae_title", 16),  # of the archive
    list_column("sop_instance_uids"),  # every image that it was ever asked for
    count_column("tries"),  # since the study was opened
    time_column("opened_at", nullable=False),  # study.first_received_at as it was then
    time_column("asked_at", nullable=False),
    Column("said", Text, nullable=False, default="", server_default=""),  # what came of the last try
)
