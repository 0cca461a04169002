"""The tables of version 0.1.0, which knew SQLite alone. PostgreSQL's begin here too, so that there is one way."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    name = sa.String().with_variant(sa.String(collation="C"), "postgresql")
    op.create_table(
        "meta",
        sa.Column("key", name, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "keys",
        sa.Column("id", name, primary_key=True),
        sa.Column("hash", name, nullable=False, unique=True),
        sa.Column("kind", name, nullable=False),
        sa.Column("tenant", name, nullable=False),
        sa.Column("rights", sa.JSON, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "channels",
        sa.Column("name", name, primary_key=True),
        sa.Column("policies", sa.JSON, nullable=False),
        sa.Column("stable", name, nullable=False),
        sa.Column("variants", sa.JSON, nullable=False),
        sa.Column("salt", name, nullable=False),
        sa.Column("rollout", name),
        sa.Column("history", sa.JSON, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "releases",
        sa.Column("id", name, primary_key=True),
        sa.Column("channel", name, nullable=False),
        sa.Column("state", name, nullable=False),
        sa.Column("pool", name, nullable=False),
        sa.Column("base", name, nullable=False),
        sa.Column("adapter", name),
        sa.Column("run", name),
        sa.Column("parent", name),
        sa.Column("report", name),
        sa.Column("reason", sa.Text),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
    )
    op.create_index("ix_releases_adapter", "releases", ["adapter"])
    op.create_index("ix_releases_channel", "releases", ["channel"])
    op.create_index("ix_releases_run", "releases", ["run"])
    op.create_table(
        "rollouts",
        sa.Column("id", name, primary_key=True),
        sa.Column("channel", name, nullable=False),
        sa.Column("release", name, nullable=False),
        sa.Column("state", name, nullable=False),
        sa.Column("stage", sa.Integer, nullable=False),
        sa.Column("stages", sa.JSON, nullable=False),
        sa.Column("weight", sa.Float, nullable=False),
        sa.Column("analysis", sa.JSON, nullable=False),
        sa.Column("started_ms", sa.BigInteger, nullable=False),
        sa.Column("stage_started_ms", sa.BigInteger),
        sa.Column("ended_ms", sa.BigInteger),
        sa.Column("version", sa.Integer, nullable=False),
    )
    op.create_index("ix_rollouts_channel", "rollouts", ["channel"])
    op.create_index("ix_rollouts_release", "rollouts", ["release"])
    op.create_index("ix_rollouts_state", "rollouts", ["state"])
    op.create_table(
        "runs",
        sa.Column("id", name, primary_key=True),
        sa.Column("channel", name, nullable=False),
        sa.Column("state", name, nullable=False),
        sa.Column("positions", sa.JSON, nullable=False),
        sa.Column("dataset", name),
        sa.Column("release", name),
        sa.Column("report", name),
        sa.Column("reasons", sa.JSON, nullable=False),
        sa.Column("progress", sa.JSON, nullable=False),
        sa.Column("requested_by", name, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_ms", sa.BigInteger, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
    )
    op.create_index("ix_runs_channel", "runs", ["channel"])
    op.create_index("ix_runs_state", "runs", ["state"])
    op.create_table(
        "engines",
        sa.Column("id", name, primary_key=True),
        sa.Column("pool", name, nullable=False),
        sa.Column("kind", name, nullable=False),
        sa.Column("address", name, nullable=False),
        sa.Column("base_name", name, nullable=False),
        sa.Column("incarnation", name, nullable=False),
        sa.Column("state", name, nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("id", name, primary_key=True),
        sa.Column("name", name, nullable=False, unique=True),
        sa.Column("holder", name, nullable=False),
        sa.Column("expires_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "workers",
        sa.Column("id", name, primary_key=True),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("heartbeat_ms", sa.BigInteger, nullable=False),
    )
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
        sa.Column("prompt_tokens", sa.Integer),
        sa.Column("completion_tokens", sa.Integer),
        sa.Column("ttft_ms", sa.Float),
        sa.Column("e2e_ms", sa.Float),
        sa.Column("flags", sa.JSON, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("trainable", sa.Boolean, nullable=False),
    )
    op.create_index("inferences_by_channel", "inferences", ["channel", "at_ms"])
    op.create_index("inferences_by_rollout", "inferences", ["rollout", "at_ms"])
    op.create_table(
        "feedback",
        sa.Column("id", name, primary_key=True),
        sa.Column("inference", name, nullable=False),
        sa.Column("tenant", name, nullable=False),
        sa.Column("channel", name, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("author", name),
        sa.Column("role", name, nullable=False),
        sa.Column("thumb", name),
        sa.Column("score", sa.Float),
        sa.Column("comment", sa.Text),
        sa.Column("correction", sa.Text),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("state", name, nullable=False),
        sa.Column("reason", name),
        sa.Column("dataset", name),
    )
    op.create_index("feedback_by_channel", "feedback", ["channel", "state"])
    op.create_index("ix_feedback_inference", "feedback", ["inference"])
    op.create_table(
        "datasets",
        sa.Column("id", name, primary_key=True),
        sa.Column("channel", name, nullable=False),
        sa.Column("run", name, nullable=False),
        sa.Column("card", sa.JSON, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_datasets_channel", "datasets", ["channel"])
    op.create_table(
        "examples",
        sa.Column("dataset", name, primary_key=True),
        sa.Column("id", name, primary_key=True),
        sa.Column("feedback", name, nullable=False),
        sa.Column("inference", name, nullable=False),
        sa.Column("author", name, nullable=False),
        sa.Column("split", name, nullable=False),
    )
    op.create_index("ix_examples_feedback", "examples", ["feedback"])
    op.create_index("ix_examples_inference", "examples", ["inference"])
    op.create_table(
        "splits",
        sa.Column("channel", name, primary_key=True),
        sa.Column("group", name, primary_key=True),
        sa.Column("split", name, nullable=False),
        sa.Column("dataset", name, nullable=False),
    )
    op.create_table(
        "offsets",
        sa.Column("topic", name, primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "dead_letters",
        sa.Column("topic", name, primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("key", name, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("id", name, primary_key=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("who", name, nullable=False),
        sa.Column("action", name, nullable=False),
        sa.Column("subject", name, nullable=False),
        sa.Column("before", sa.JSON),
        sa.Column("after", sa.JSON),
    )
    op.create_index("ix_audit_subject", "audit", ["subject"])
    facts = sa.table("meta", sa.column("key"), sa.column("value"))
    op.bulk_insert(facts, [{"key": "generation", "value": "0"}, {"key": "schema", "value": "1"}])
