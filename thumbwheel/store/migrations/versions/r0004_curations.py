"""Reviews, proposals, exclusions, erasures and what models computed are kept as the events that they are."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """There are none yet. Administrators' keys, which could see whatever was to be seen, go on to."""
    name = sa.String().with_variant(sa.String(collation="C"), "postgresql")
    op.create_table(
        "curations",
        sa.Column("id", name, primary_key=True),
        sa.Column("type", name, nullable=False),
        sa.Column("channel", name),
        sa.Column("feedback", name),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("event", sa.JSON, nullable=False),
    )
    op.create_index("ix_curations_feedback", "curations", ["feedback"])
    op.create_index("curations_by_channel", "curations", ["channel", "type"])
    op.execute("""update keys set rights = '["arbiter", "raw"]' where kind = 'admin'""")
    op.create_table(
        "tombstones",
        sa.Column("sum", name, primary_key=True),
        sa.Column("now", name, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "segments",
        sa.Column("topic", name, primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True),
        sa.Column("after", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("artifact", name),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )
    op.add_column("examples", sa.Column("kind", name, nullable=False, server_default="sft"))
    op.execute("update meta set value = '4' where key = 'schema'")
