"""queries: names folded, indices for C-FIND, who may query and retrieve."""

import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

GROUPS = ("name_alphabetic", "name_ideographic", "name_phonetic")


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table("patient", schema=None) as batch_op:
        for name in GROUPS:
            batch_op.add_column(sa.Column(name, sa.String(length=64), server_default="", nullable=False))
    _fold_names()
    with op.batch_alter_table("patient", schema=None) as batch_op:
        for name in ("patient_id", *GROUPS):
            batch_op.create_index(f"ix_patient_{name}", [name], unique=False, postgresql_ops={name: "text_pattern_ops"})

    with op.batch_alter_table("study", schema=None) as batch_op:
        batch_op.drop_index("ix_study_study_date")
        batch_op.create_index("ix_study_study_date", ["study_date", "id"], unique=False)
        batch_op.drop_index("ix_study_accession_number")
        batch_op.create_index(
            "ix_study_accession_number",
            ["accession_number"],
            unique=False,
            postgresql_ops={"accession_number": "text_pattern_ops"},
        )

    with op.batch_alter_table("instance", schema=None) as batch_op:
        batch_op.drop_index("ix_instance_series_id")
        batch_op.create_index("ix_instance_series_id", ["series_id", "version", "purged_at"], unique=False)

    with op.batch_alter_table("sender", schema=None) as batch_op:
        batch_op.add_column(sa.Column("may_query", sa.Boolean(), server_default=sa.true(), nullable=False))
        batch_op.add_column(sa.Column("may_retrieve", sa.Boolean(), server_default=sa.false(), nullable=False))

    with op.batch_alter_table("destination", schema=None) as batch_op:
        batch_op.add_column(sa.Column("retrieve", sa.Boolean(), server_default=sa.true(), nullable=False))


def _fold_names() -> None:
    """As catalog/narrowing.py does with those that come."""
    patient = sa.table("patient", sa.column("id"), sa.column("patient_name"), *map(sa.column, GROUPS))
    connection = op.get_bind()
    for row_id, name in connection.execute(sa.select(patient.c.id, patient.c.patient_name)).all():
        groups = [group.rstrip("^")[:64] for group in _folded(name).split("=")] + [""] * 3
        values = dict(zip(GROUPS, groups, strict=False))
        connection.execute(sa.update(patient).where(patient.c.id == row_id).values(values))


def _folded(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table("destination", schema=None) as batch_op:
        batch_op.drop_column("retrieve")

    with op.batch_alter_table("sender", schema=None) as batch_op:
        batch_op.drop_column("may_retrieve")
        batch_op.drop_column("may_query")

    with op.batch_alter_table("instance", schema=None) as batch_op:
        batch_op.drop_index("ix_instance_series_id")
        batch_op.create_index("ix_instance_series_id", ["series_id"], unique=False)

    with op.batch_alter_table("study", schema=None) as batch_op:
        batch_op.drop_index("ix_study_accession_number")
        batch_op.create_index("ix_study_accession_number", ["accession_number"], unique=False)
        batch_op.drop_index("ix_study_study_date")
        batch_op.create_index("ix_study_study_date", ["study_date"], unique=False)

    with op.batch_alter_table("patient", schema=None) as batch_op:
        for name in ("patient_id", *GROUPS):
            batch_op.drop_index(f"ix_patient_{name}")
        for name in GROUPS:
            batch_op.drop_column(name)
