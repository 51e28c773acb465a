"""references: which other results an encoded result refers to."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table("result", schema=None) as batch_op:
        batch_op.add_column(sa.Column("refers_to", sa.JSON(), server_default="[]", nullable=False))


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table("result", schema=None) as batch_op:
        batch_op.drop_column("refers_to")
