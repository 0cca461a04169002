"""The store's tables. SQLite now; the statements keep to what PostgreSQL takes too."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

meta = Table("meta", metadata, Column("key", String, primary_key=True), Column("value", Text, nullable=False))

keys = Table(
    "keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("hash", String, nullable=False, unique=True),
    Column("kind", String, nullable=False),
    Column("tenant", String, nullable=False),
    Column("rights", JSON, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

channels = Table(
    "channels",
    metadata,
    Column("name", String, primary_key=True),
    Column("policies", JSON, nullable=False),
    Column("stable", String, nullable=False),
    Column("variants", JSON, nullable=False),
    Column("salt", String, nullable=False),
    Column("rollout", String),
    Column("history", JSON, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

releases = Table(
    "releases",
    metadata,
    Column("id", String, primary_key=True),
    Column("channel", String, nullable=False, index=True),
    Column("state", String, nullable=False),
    Column("pool", String, nullable=False),
    Column("base", String, nullable=False),
    Column("adapter", String, index=True),
    Column("run", String, index=True),
    Column("parent", String),
    Column("report", String),
    Column("reason", Text),
    Column("created_ms", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", String, primary_key=True),
    Column("channel", String, nullable=False, index=True),
    Column("release", String, nullable=False, index=True),
    Column("state", String, nullable=False, index=True),
    Column("stage", Integer, nullable=False),
    Column("stages", JSON, nullable=False),
    Column("weight", Float, nullable=False),
    Column("analysis", JSON, nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("stage_started_ms", BigInteger),
    Column("ended_ms", BigInteger),
    Column("version", Integer, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String, primary_key=True),
    Column("channel", String, nullable=False, index=True),
    Column("state", String, nullable=False, index=True),
    Column("positions", JSON, nullable=False),
    Column("dataset", String),
    Column("release", String),
    Column("report", String),
    Column("reasons", JSON, nullable=False),
    Column("progress", JSON, nullable=False),
    Column("requested_by", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
)

engines = Table(
    "engines",
    metadata,
    Column("id", String, primary_key=True),
    Column("pool", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("address", String, nullable=False),
    Column("base_name", String, nullable=False),
    Column("incarnation", String, nullable=False),
    Column("state", String, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False, unique=True),  # engine:<id>, or leader:controller
    Column("holder", String, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
)

workers = Table(
    "workers",
    metadata,
    Column("id", String, primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("heartbeat_ms", BigInteger, nullable=False),
)

inferences = Table(
    "inferences",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("unit", String, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("assigned", String, nullable=False),
    Column("role", String, nullable=False),
    Column("served_by", String, nullable=False),
    Column("rollout", String),
    Column("status", String, nullable=False),
    Column("streamed", Boolean, nullable=False),
    Column("messages", JSON),
    Column("answer", Text),
    Column("finish_reason", String),
    Column("prompt_tokens", Integer),
    Column("completion_tokens", Integer),
    Column("ttft_ms", Float),
    Column("e2e_ms", Float),
    Column("flags", JSON, nullable=False),
    Column("error", Text),
    Column("trainable", Boolean, nullable=False),
    Index("inferences_by_channel", "channel", "at_ms"),
    Index("inferences_by_rollout", "rollout", "at_ms"),
)

feedback = Table(
    "feedback",
    metadata,
    Column("id", String, primary_key=True),
    Column("inference", String, nullable=False, index=True),
    Column("tenant", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),  # its offset in the log: ties in time are broken by order of receipt
    Column("author", String),  # the unit of its inference, unless a key with that right named one; None until joined
    Column("role", String, nullable=False),
    Column("thumb", String),
    Column("score", Float),
    Column("comment", Text),
    Column("correction", Text),
    Column("tags", JSON, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("state", String, nullable=False),
    Column("reason", String),
    Column("dataset", String),
    Index("feedback_by_channel", "channel", "state"),
)

datasets = Table(
    "datasets",
    metadata,
    Column("id", String, primary_key=True),
    Column("channel", String, nullable=False, index=True),
    Column("run", String, nullable=False),
    Column("card", JSON, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

examples = Table(
    "examples",
    metadata,
    Column("dataset", String, primary_key=True),
    Column("id", String, primary_key=True),
    Column("feedback", String, nullable=False, index=True),
    Column("inference", String, nullable=False, index=True),
    Column("author", String, nullable=False),
    Column("split", String, nullable=False),
)

splits = Table(
    "splits",
    metadata,
    Column("channel", String, primary_key=True),
    Column("group", String, primary_key=True),
    Column("split", String, nullable=False),
    Column("dataset", String, nullable=False),
)

offsets = Table(
    "offsets",
    metadata,
    Column("topic", String, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("position", BigInteger, nullable=False),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("topic", String, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("key", String, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", String, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("who", String, nullable=False),
    Column("action", String, nullable=False),
    Column("subject", String, nullable=False, index=True),
    Column("before", JSON),
    Column("after", JSON),
)
