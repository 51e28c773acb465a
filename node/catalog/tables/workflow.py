"""Jobs as Unified Procedure Steps, who subscribed to them, and what those are still to be told."""

from sqlalchemy import JSON, Column, ForeignKey, Index, Integer, String, Table, Text

from node.catalog.tables.columns import (
    Id,
    Uid,
    count_column,
    id_column,
    json_column,
    metadata,
    of_column,
    text_column,
    time_column,
)

workitem = Table(  # a job, or a study that may get one; it keeps what subscribers were told last
    "workitem",
    metadata,
    id_column(),
    Column("sop_instance_uid", Uid, nullable=False, unique=True),
    of_column("study", index=True),
    Column("job_id", Id, ForeignKey("job.id"), unique=True),
    Column("replaces", Uid),
    text_column("ordered_by"),
    json_column("given"),  # what the orderer said of it
    Column("state", String(16), nullable=False),
    count_column("ready"),
    count_column("percent"),
    Column("text", Text, nullable=False, default="", server_default=""),
    text_column("reason", 16),
    Column("why", Text, nullable=False, default="", server_default=""),
    time_column("created_at", nullable=False),
    time_column("changed_at", nullable=False),
    Index("ix_workitem_state", "state"),
)

subscription = Table(
    "subscription",
    metadata,
    id_column(),
    Column("ae_title", String(16), nullable=False),
    Column("workitem_id", Id, ForeignKey("workitem.id")),  # none: to all that come, by the keys in `filter`
    count_column("deletion_lock"),
    Column("filter", JSON, nullable=False, default=dict, server_default="{}"),
    time_column("created_at", nullable=False),
    Index("ix_subscription_ae_title", "ae_title", "workitem_id"),
    Index("ix_subscription_workitem_id", "workitem_id"),
)

notification = Table(
    "notification",
    metadata,
    id_column(),
    Column("ae_title", String(16), nullable=False),
    Column("sop_instance_uid", Uid, nullable=False),
    Column("type", Integer, nullable=False),
    Column("content", JSON, nullable=False, default=dict, server_default="{}"),
    count_column("attempts"),
    time_column("created_at", nullable=False),
    time_column("not_before", nullable=False),
    Index("ix_notification_ae_title", "ae_title", "id"),
)
