"""routing: virtual AE titles, what callers asked for, which rule decided, and the forwarding of images."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table("sender", schema=None) as batch_op:
        batch_op.add_column(sa.Column("pipeline", sa.String(length=16), server_default="", nullable=False))
        batch_op.add_column(sa.Column("tls_required", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("called", sa.JSON(), server_default="[]", nullable=False))
        batch_op.add_column(sa.Column("wish", sa.JSON(), server_default="{}", nullable=False))
        batch_op.add_column(sa.Column("first_refused_at", TIME, nullable=True))

    with op.batch_alter_table("study", schema=None) as batch_op:
        batch_op.add_column(sa.Column("called_ae_title", sa.String(length=16), server_default="", nullable=False))
        batch_op.add_column(sa.Column("routing", sa.JSON(), server_default="{}", nullable=False))

    op.create_table(
        "forward",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("destination_id", ID, nullable=False),
        sa.Column("study_id", ID, nullable=False),
        sa.Column("instance_id", ID, nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("not_before", TIME, nullable=False),
        sa.Column("delivered_at", TIME, nullable=True),
        sa.Column("transaction_uid", sa.Text(), nullable=True),
        sa.Column("asks", sa.Integer(), server_default="0", nullable=False),
        sa.Column("rounds", sa.Integer(), server_default="0", nullable=False),
        sa.Column("ask_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["destination_id"], ["destination.id"], name=op.f("fk_forward_destination_id")),
        sa.ForeignKeyConstraint(["instance_id"], ["instance.id"], name=op.f("fk_forward_instance_id")),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_forward_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_forward")),
        sa.UniqueConstraint("destination_id", "instance_id", name=op.f("uq_forward_destination_id_instance_id")),
    )
    with op.batch_alter_table("forward", schema=None) as batch_op:
        batch_op.create_index("ix_forward_destination_state", ["destination_id", "state", "not_before"], unique=False)
        batch_op.create_index("ix_forward_sop_instance_uid", ["sop_instance_uid", "destination_id"], unique=False)
        batch_op.create_index(op.f("ix_forward_study_id"), ["study_id"], unique=False)
        batch_op.create_index(op.f("ix_forward_transaction_uid"), ["transaction_uid"], unique=False)


def downgrade() -> None:
    """Back."""
    op.drop_table("forward")

    with op.batch_alter_table("study", schema=None) as batch_op:
        batch_op.drop_column("routing")
        batch_op.drop_column("called_ae_title")

    with op.batch_alter_table("sender", schema=None) as batch_op:
        for name in ("first_refused_at", "wish", "called", "tls_required", "pipeline"):
            batch_op.drop_column(name)
