"""missing: images that were told of, did not come, and were fetched from an archive."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "missing",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("study_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("ae_title", sa.String(length=16), server_default="", nullable=False),
        sa.Column("sop_instance_uids", sa.JSON(), server_default="[]", nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("said", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_missing_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_missing")),
        sa.UniqueConstraint("study_id", name=op.f("uq_missing_study_id")),
    )


def downgrade() -> None:
    """Back."""
    op.drop_table("missing")
