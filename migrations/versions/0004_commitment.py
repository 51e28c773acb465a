"""commitment: what destinations were asked to confirm, and what they answered."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "commitment",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("job_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("destination_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("transaction_uid", sa.Text(), nullable=True),
        sa.Column("proof", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.JSON(), nullable=False),
        sa.Column("asks", sa.Integer(), server_default="0", nullable=False),
        sa.Column("rounds", sa.Integer(), server_default="0", nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["destination_id"], ["destination.id"], name=op.f("fk_commitment_destination_id")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_commitment_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commitment")),
        sa.UniqueConstraint("transaction_uid", name=op.f("uq_commitment_transaction_uid")),
    )
    with op.batch_alter_table("commitment", schema=None) as batch_op:
        batch_op.create_index(
            "ix_commitment_destination_state", ["destination_id", "state", "not_before"], unique=False
        )
        batch_op.create_index(op.f("ix_commitment_job_id"), ["job_id"], unique=False)

    with op.batch_alter_table("destination", schema=None) as batch_op:
        batch_op.add_column(sa.Column("commitment", sa.String(length=16), server_default="off", nullable=False))


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table("destination", schema=None) as batch_op:
        batch_op.drop_column("commitment")

    with op.batch_alter_table("commitment", schema=None) as batch_op:
        batch_op.drop_index(op.f("ix_commitment_job_id"))
        batch_op.drop_index("ix_commitment_destination_state")

    op.drop_table("commitment")
