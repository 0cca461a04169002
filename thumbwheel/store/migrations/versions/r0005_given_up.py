"""A dead letter that nobody has redriven within a feedback window is given up."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Of those that are there the consumer decides at its next look."""
    op.add_column("dead_letters", sa.Column("given_up", sa.Boolean, nullable=False, server_default=sa.false()))
    op.execute("update meta set value = '5' where key = 'schema'")
