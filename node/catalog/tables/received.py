"""Patients, studies, series and instances, as they came."""

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, String, Table, Text, UniqueConstraint

from node.catalog.tables.columns import Uid, id_column, json_column, metadata, of_column, text_column, time_column

patient = Table(
    "patient",
    metadata,
    id_column(),
    Column("patient_id", Text, nullable=False),
    Column("issuer_of_patient_id", Text, nullable=False),
    Column("patient_name", Text, nullable=False),
    Column("patient_birth_date", Text, nullable=False),
    Column("patient_sex", Text, nullable=False),
    text_column("name_alphabetic"),  # the three groups of the name, folded as they are matched, no longer than this
    text_column("name_ideographic"),
    text_column("name_phonetic"),
    Column("identity", String(64), nullable=False, unique=True),  # SHA-256 of the five: who shares an id is not merged
    *(
        Index(f"ix_patient_{name}", name, postgresql_ops={name: "text_pattern_ops"})
        for name in ("patient_id", "name_alphabetic", "name_ideographic", "name_phonetic")
    ),
)
"""With `text_pattern_ops` PostgreSQL looks up by how a text begins, too, in any language."""

study = Table(
    "study",
    metadata,
    id_column(),
    of_column("patient", index=True),
    Column("study_instance_uid", Uid, nullable=False, unique=True),
    Column("study_date", Text, nullable=False),
    Column("study_time", Text, nullable=False),
    Column("accession_number", Text, nullable=False),
    Column("study_id", Text, nullable=False),
    Column("study_description", Text, nullable=False),
    Column("referring_physician_name", Text, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("revision", Integer, nullable=False, default=0),
    text_column("evidence"),
    json_column("evidence_detail"),  # what the evidence rested on
    text_column("outcome", 16),
    Column("reasons", JSON, nullable=False, default=list),
    Column("conflicts", Integer, nullable=False, default=0),
    time_column("first_received_at", nullable=False),
    time_column("last_received_at", nullable=False),
    time_column("completed_at"),
    time_column("purged_at"),
    text_column("last_association_id"),
    text_column("calling_ae_title", 16),
    text_column("address"),
    text_column("called_ae_title", 16),
    json_column("routing"),  # which rule decided, and what; empty where none did
    Index("ix_study_study_date", "study_date", "id"),  # in the order of answers
    Index("ix_study_accession_number", "accession_number", postgresql_ops={"accession_number": "text_pattern_ops"}),
    Index("ix_study_purged_at", "purged_at", "last_received_at"),  # the oldest that are still here
)

series = Table(
    "series",
    metadata,
    id_column(),
    of_column("study", index=True),
    Column("series_instance_uid", Uid, nullable=False),
    Column("modality", Text, nullable=False),
    Column("series_number", Integer),
    Column("series_description", Text, nullable=False),
    Column("body_part_examined", Text, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    text_column("evidence"),
    json_column("evidence_detail"),
    text_column("eligibility", 16),
    Column("reasons", JSON, nullable=False, default=list),
    Column("score", JSON, nullable=False, default=list),
    text_column("digest"),
    time_column("first_received_at", nullable=False),
    time_column("last_received_at", nullable=False),
    text_column("last_association_id"),
    text_column("calling_ae_title", 16),
    text_column("address"),
    UniqueConstraint("study_id", "series_instance_uid"),
)

instance = Table(
    "instance",
    metadata,
    id_column(),
    of_column("series"),
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
    time_column("received_at", nullable=False),
    text_column("stands_for", 64),  # digest of the removed version whose place it took; '' where it took none
    time_column("purged_at"),  # its file was removed by retention
    text_column("association_id"),
    text_column("calling_ae_title", 16),
    Index("ix_instance_series_id", "series_id", "version", "purged_at"),  # counts without a look at the rows
)

announcement = Table(  # an independent count of a study, of which there may be no image
    "announcement",
    metadata,
    id_column(),
    Column("teller", String(16), nullable=False),
    Column("uid", Uid, nullable=False),  # of the step or notification; of a C-FIND the study
    Column("study_instance_uid", Uid, nullable=False, index=True),  # empty while only the end of a step was told
    Column("state", String(16), nullable=False),
    json_column("series"),  # Series Instance UID to instances
    text_column("calling_ae_title", 16),
    time_column("told_at", nullable=False),
    UniqueConstraint("teller", "uid"),
)
