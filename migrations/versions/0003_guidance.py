"""guidance: what clinical rules say of a reading."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.add_column(sa.Column("guidance", sa.JSON(), server_default="{}", nullable=False))


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.drop_column("guidance")
