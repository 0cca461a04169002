"""A dead letter says of which channel and which event it is, where that can be read."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Those that are there say neither."""
    name = sa.String().with_variant(sa.String(collation="C"), "postgresql")
    op.add_column("dead_letters", sa.Column("channel", name))
    op.add_column("dead_letters", sa.Column("event", name))
    op.create_index("ix_dead_letters_event", "dead_letters", ["event"])
    op.execute("update meta set value = '3' where key = 'schema'")
