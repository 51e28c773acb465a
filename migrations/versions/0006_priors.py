"""priors: what a nodule is tracked by, what became of it since an earlier exam, and what was asked of the archive."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "prefetch",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("study_id", ID, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("prior_study_instance_uid", sa.Text(), server_default="", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_prefetch_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prefetch")),
        sa.UniqueConstraint("study_id", name=op.f("uq_prefetch_study_id")),
    )
    with op.batch_alter_table("prefetch", schema=None) as batch_op:
        batch_op.create_index(op.f("ix_prefetch_prior_study_instance_uid"), ["prior_study_instance_uid"], unique=False)
        batch_op.create_index(op.f("ix_prefetch_state"), ["state"], unique=False)

    with op.batch_alter_table("finding", schema=None) as batch_op:
        batch_op.add_column(sa.Column("tracking_uid", sa.String(length=64), server_default="", nullable=False))

    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.add_column(sa.Column("read_by", sa.String(length=64), server_default="", nullable=False))
        batch_op.add_column(sa.Column("comparison", sa.JSON(), server_default="{}", nullable=False))


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.drop_column("comparison")
        batch_op.drop_column("read_by")

    with op.batch_alter_table("finding", schema=None) as batch_op:
        batch_op.drop_column("tracking_uid")

    with op.batch_alter_table("prefetch", schema=None) as batch_op:
        batch_op.drop_index(op.f("ix_prefetch_state"))
        batch_op.drop_index(op.f("ix_prefetch_prior_study_instance_uid"))

    op.drop_table("prefetch")
