"""workflow: each reading is a Unified Procedure Step; subscriptions, and what subscribers are still to be told."""

import json

import sqlalchemy as sa
from alembic import op

from node.domain.uids import derived_uid

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "workitem",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("study_id", ID, nullable=False),
        sa.Column("job_id", ID, nullable=True),
        sa.Column("replaces", sa.Text(), nullable=True),
        sa.Column("ordered_by", sa.String(length=64), server_default="", nullable=False),
        sa.Column("given", sa.JSON(), server_default="{}", nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("ready", sa.Integer(), server_default="0", nullable=False),
        sa.Column("percent", sa.Integer(), server_default="0", nullable=False),
        sa.Column("text", sa.Text(), server_default="", nullable=False),
        sa.Column("reason", sa.String(length=16), server_default="", nullable=False),
        sa.Column("why", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_workitem_job_id")),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_workitem_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workitem")),
        sa.UniqueConstraint("job_id", name=op.f("uq_workitem_job_id")),
        sa.UniqueConstraint("sop_instance_uid", name=op.f("uq_workitem_sop_instance_uid")),
    )
    with op.batch_alter_table("workitem", schema=None) as batch_op:
        batch_op.create_index("ix_workitem_state", ["state"], unique=False)
        batch_op.create_index(op.f("ix_workitem_study_id"), ["study_id"], unique=False)

    op.create_table(
        "subscription",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("ae_title", sa.String(length=16), nullable=False),
        sa.Column("workitem_id", ID, nullable=True),
        sa.Column("deletion_lock", sa.Integer(), server_default="0", nullable=False),
        sa.Column("filter", sa.JSON(), server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["workitem_id"], ["workitem.id"], name=op.f("fk_subscription_workitem_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription")),
    )
    with op.batch_alter_table("subscription", schema=None) as batch_op:
        batch_op.create_index("ix_subscription_ae_title", ["ae_title", "workitem_id"], unique=False)
        batch_op.create_index("ix_subscription_workitem_id", ["workitem_id"], unique=False)

    op.create_table(
        "notification",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("ae_title", sa.String(length=16), nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("type", sa.Integer(), nullable=False),
        sa.Column("content", sa.JSON(), server_default="{}", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification")),
    )
    with op.batch_alter_table("notification", schema=None) as batch_op:
        batch_op.create_index("ix_notification_ae_title", ["ae_title", "id"], unique=False)

    _readings_become_steps(op.get_bind())


def _readings_become_steps(connection: sa.Connection) -> None:
    """Of what there is already: each gets the UID that it would have been given, and is looked at when the node runs."""
    readings = connection.execute(
        sa.text(
            "SELECT job.id, job.study_id, job.created_at, study.study_instance_uid, job.revision FROM job JOIN study"
            " ON study.id = job.study_id WHERE job.pipeline = 'lung-nodule' AND job.kind = 'analysis' ORDER BY job.id"
        )
    ).all()
    serial = connection.execute(sa.text("SELECT serial FROM installation")).scalar() or ""
    newest: dict[int, str] = {}
    for job_id, study_id, created_at, study_uid, number in readings:
        uid = derived_uid("nodus workitem", serial, study_uid, str(number), str(job_id))
        values = {"uid": uid, "study": study_id, "job": job_id, "replaces": newest.get(study_id), "at": created_at}
        connection.execute(
            sa.text(
                "INSERT INTO workitem (sop_instance_uid, study_id, job_id, replaces, given, state, ready, created_at,"
                " changed_at) VALUES (:uid, :study, :job, :replaces, :given, 'SCHEDULED', 1, :at, :at)"
            ),
            {**values, "given": json.dumps({})},
        )
        newest[study_id] = uid


def downgrade() -> None:
    """Back."""
    op.drop_table("notification")
    op.drop_table("subscription")
    op.drop_table("workitem")
