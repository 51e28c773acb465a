"""promises: circuit breakers, alerts, retention, journal, and why something counts as complete."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "alert",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(), server_default="{}", nullable=False),
        sa.Column("raised_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cleared_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("notified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
    )
    with op.batch_alter_table("alert", schema=None) as batch_op:
        batch_op.create_index("ix_alert_kind_subject", ["kind", "subject"], unique=False)

    op.create_table(
        "control",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.JSON(), server_default="{}", nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_control")),
    )
    op.create_table(
        "journal",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_journal")),
    )
    with op.batch_alter_table("destination", schema=None) as batch_op:
        batch_op.add_column(sa.Column("breaker", sa.String(length=16), server_default="closed", nullable=False))
        batch_op.add_column(sa.Column("breaker_failures", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("breaker_reason", sa.Text(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("breaker_opened_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("breaker_until", sa.DateTime(timezone=True), nullable=True))

    with op.batch_alter_table("instance", schema=None) as batch_op:
        batch_op.add_column(sa.Column("stands_for", sa.String(length=64), server_default="", nullable=False))
        batch_op.add_column(sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True))

    with op.batch_alter_table("result", schema=None) as batch_op:
        batch_op.add_column(sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True))

    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.add_column(sa.Column("economy", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("turn_at", sa.DateTime(timezone=True), nullable=True))

    op.execute("UPDATE job SET turn_at = created_at")
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.alter_column("turn_at", existing_type=sa.DateTime(timezone=True), nullable=False)
        batch_op.drop_index("ix_job_state_priority")
        batch_op.create_index("ix_job_state_turn_at", ["state", "turn_at", "id"], unique=False)

    with op.batch_alter_table("sender", schema=None) as batch_op:
        batch_op.add_column(sa.Column("max_study_age_days", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("priority", sa.Integer(), server_default="0", nullable=False))

    with op.batch_alter_table("series", schema=None) as batch_op:
        batch_op.add_column(sa.Column("evidence_detail", sa.JSON(), server_default="{}", nullable=False))

    with op.batch_alter_table("study", schema=None) as batch_op:
        batch_op.add_column(sa.Column("evidence_detail", sa.JSON(), server_default="{}", nullable=False))
        batch_op.add_column(sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.create_index("ix_study_purged_at", ["purged_at", "last_received_at"], unique=False)


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table("study", schema=None) as batch_op:
        batch_op.drop_index("ix_study_purged_at")
        batch_op.drop_column("purged_at")
        batch_op.drop_column("evidence_detail")

    with op.batch_alter_table("series", schema=None) as batch_op:
        batch_op.drop_column("evidence_detail")

    with op.batch_alter_table("sender", schema=None) as batch_op:
        batch_op.drop_column("priority")
        batch_op.drop_column("max_study_age_days")

    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.drop_index("ix_job_state_turn_at")
        batch_op.create_index("ix_job_state_priority", ["state", "priority", "id"], unique=False)
        batch_op.drop_column("turn_at")
        batch_op.drop_column("economy")

    with op.batch_alter_table("result", schema=None) as batch_op:
        batch_op.drop_column("purged_at")

    with op.batch_alter_table("instance", schema=None) as batch_op:
        batch_op.drop_column("purged_at")
        batch_op.drop_column("stands_for")

    with op.batch_alter_table("destination", schema=None) as batch_op:
        batch_op.drop_column("breaker_until")
        batch_op.drop_column("breaker_opened_at")
        batch_op.drop_column("breaker_reason")
        batch_op.drop_column("breaker_failures")
        batch_op.drop_column("breaker")

    op.drop_table("journal")
    op.drop_table("control")
    with op.batch_alter_table("alert", schema=None) as batch_op:
        batch_op.drop_index("ix_alert_kind_subject")

    op.drop_table("alert")
