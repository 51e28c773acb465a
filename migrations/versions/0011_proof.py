"""proof: certificates of senders, TLS to destinations, independent counts of studies, promises to senders."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table("sender", schema=None) as batch_op:
        batch_op.add_column(sa.Column("certificate", sa.String(length=255), server_default="", nullable=False))

        batch_op.add_column(sa.Column("count_at", sa.String(length=16), server_default="", nullable=False))

        batch_op.add_column(sa.Column("commitment_port", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("commitment_tls", sa.Integer(), server_default="0", nullable=False))

    op.create_table(
        "promise",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("transaction_uid", sa.Text(), nullable=False),
        sa.Column("calling_ae_title", sa.String(length=16), server_default="", nullable=False),
        sa.Column("address", sa.String(length=64), server_default="", nullable=False),
        sa.Column("wanted", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promise")),
        sa.UniqueConstraint(
            "calling_ae_title", "transaction_uid", name=op.f("uq_promise_calling_ae_title_transaction_uid")
        ),
    )
    with op.batch_alter_table("promise", schema=None) as batch_op:
        batch_op.create_index("ix_promise_state_not_before", ["state", "not_before"], unique=False)

    op.create_table(
        "announcement",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("teller", sa.String(length=16), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("series", sa.JSON(), server_default="{}", nullable=False),
        sa.Column("calling_ae_title", sa.String(length=16), server_default="", nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_announcement")),
        sa.UniqueConstraint("teller", "uid", name=op.f("uq_announcement_teller_uid")),
    )
    with op.batch_alter_table("announcement", schema=None) as batch_op:
        batch_op.create_index(op.f("ix_announcement_study_instance_uid"), ["study_instance_uid"], unique=False)

    with op.batch_alter_table("destination", schema=None) as batch_op:
        batch_op.add_column(sa.Column("secured", sa.JSON(), server_default="{}", nullable=False))


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table("destination", schema=None) as batch_op:
        batch_op.drop_column("secured")

    op.drop_table("announcement")
    op.drop_table("promise")

    with op.batch_alter_table("sender", schema=None) as batch_op:
        batch_op.drop_column("commitment_tls")
        batch_op.drop_column("commitment_port")
        batch_op.drop_column("count_at")
        batch_op.drop_column("certificate")
