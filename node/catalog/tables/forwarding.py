"""Where each image stands with each destination that it is forwarded to."""

from sqlalchemy import Column, Index, Integer, String, Table, Text, UniqueConstraint

from node.catalog.tables.columns import Uid, count_column, id_column, metadata, of_column, time_column

forward = Table(
    "forward",
    metadata,
    id_column(),
    of_column("destination"),
    of_column("study", index=True),
    of_column("instance"),
    Column("sop_instance_uid", Uid, nullable=False),
    Column("state", String(16), nullable=False),
    count_column("attempts"),  # C-STOREs that were answered
    count_column("failures"),  # also connections that were not made
    Column("status", Integer),
    Column("error", Text, nullable=False, default="", server_default=""),
    time_column("created_at", nullable=False),
    time_column("not_before", nullable=False),
    time_column("delivered_at"),
    Column("transaction_uid", Uid, index=True),  # of the storage commitment it was asked for last
    count_column("asks"),  # in a row without an answer
    count_column("rounds"),  # answers by which it was missing
    time_column("ask_at"),  # when the destination is asked for it next
    UniqueConstraint("destination_id", "instance_id"),
    Index("ix_forward_destination_state", "destination_id", "state", "not_before"),
    Index("ix_forward_sop_instance_uid", "sop_instance_uid", "destination_id"),
)
