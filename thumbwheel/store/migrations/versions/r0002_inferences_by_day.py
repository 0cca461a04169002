"""Inferences know the day of their id, and are partitioned by it on PostgreSQL; a list of archived days."""

import sqlalchemy as sa
from alembic import op

from thumbwheel.ids import day_bounds, day_of

revision = "0002"
down_revision = "0001"

OLD = "inferences_1"
COLUMNS = (
    "id, tenant, channel, unit, at_ms, assigned, role, served_by, rollout, status, streamed, messages, answer, "
    "finish_reason, prompt_tokens, completion_tokens, ttft_ms, e2e_ms, flags, error, trainable"
)


def upgrade() -> None:
    """Rebuild `inferences` a day at a time."""
    for index in ("inferences_by_channel", "inferences_by_rollout"):
        op.drop_index(index, "inferences")
    op.rename_table("inferences", OLD)
    postgres = op.get_bind().dialect.name == "postgresql"
    if postgres:
        op.execute(f"alter index inferences_pkey rename to {OLD}_pkey")
    _make()
    if postgres:
        op.execute("create table inferences_kept partition of inferences default")
    _copy(op.get_bind())
    op.drop_table(OLD)
    # What was not logged was JSON's null before.
    op.execute(f"update inferences set messages = null where {'messages::text' if postgres else 'messages'} = 'null'")
    op.execute("update meta set value = '2' where key = 'schema'")


def _make() -> None:
    name = sa.String().with_variant(sa.String(collation="C"), "postgresql")
    op.create_table(
        "inferences",
        sa.Column("id", name, primary_key=True),
        sa.Column("tenant", name, nullable=False),
        sa.Column("channel", name, nullable=False),
        sa.Column("unit", name, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("assigned", name, nullable=False),
        sa.Column("role", name, nullable=False),
        sa.Column("served_by", name, nullable=False),
        sa.Column("rollout", name),
        sa.Column("status", name, nullable=False),
        sa.Column("streamed", sa.Boolean, nullable=False),
        sa.Column("messages", sa.JSON),
        sa.Column("answer", sa.Text),
        sa.Column("finish_reason", name),
        sa.Column("prompt_tokens", sa.BigInteger),
        sa.Column("completion_tokens", sa.BigInteger),
        sa.Column("ttft_ms", sa.Float),
        sa.Column("e2e_ms", sa.Float),
        sa.Column("flags", sa.JSON, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("trainable", sa.Boolean, nullable=False),
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        postgresql_partition_by="RANGE (day)",
    )
    op.create_index("inferences_by_channel", "inferences", ["channel", "at_ms"])
    op.create_index("inferences_by_rollout", "inferences", ["rollout", "at_ms"])
    op.create_table(
        "archives",
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("artifact", name, primary_key=True),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )


def _copy(connection: sa.Connection) -> None:
    """Ids sort by kind and time, so a day's are neighbours; one that we did not mint goes by itself."""
    last = ""
    following = sa.text(f"select min(id) from {OLD} where id > :last")
    while (first := connection.execute(following, {"last": last}).scalar()) is not None:
        day = day_of(first)
        low, high = day_bounds(first.partition("-")[0], day) if day else (first, first)
        place = "id >= :low and id < :high" if day else "id = :low and id = :high"
        bounds = {"low": low, "high": high}
        into = f"insert into inferences ({COLUMNS}, day) select {COLUMNS}, :day from {OLD} where {place}"
        connection.execute(sa.text(into), {"day": day, **bounds})
        last = connection.execute(sa.text(f"select max(id) from {OLD} where {place}"), bounds).scalar_one()
