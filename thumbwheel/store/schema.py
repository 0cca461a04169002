"""The store's tables, on SQLite and PostgreSQL.

`VERSION` is raised with every change here, which comes with a migration in `migrations/versions` that makes it in a
store that is there already; a test compares what both ways lead to.

Inferences are partitioned by the day in their id (thumbwheel/ids.py) on PostgreSQL. Its primary key must hold the day;
as the id determines the day, an id is there once all the same. What no day's partition takes lies in `inferences_kept`:
days that have no partition yet, and what retention leaves of days whose partition is gone (see retention.py).
"""

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
    false,
)

VERSION = 5

metadata = MetaData()

# Ids, names and words of ours. By bytes everywhere: ids sort by time, and a locale would compare otherwise, and slower.
Name = String().with_variant(String(collation="C"), "postgresql")

KEPT = "inferences_kept"
POSTGRES_PARTS = (f"create table {KEPT} partition of inferences default",)

meta = Table("meta", metadata, Column("key", Name, primary_key=True), Column("value", Text, nullable=False))

keys = Table(
    "keys",
    metadata,
    Column("id", Name, primary_key=True),
    Column("hash", Name, nullable=False, unique=True),
    Column("kind", Name, nullable=False),
    Column("tenant", Name, nullable=False),
    Column("rights", JSON, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

channels = Table(
    "channels",
    metadata,
    Column("name", Name, primary_key=True),
    Column("policies", JSON, nullable=False),
    Column("stable", Name, nullable=False),
    Column("variants", JSON, nullable=False),
    Column("salt", Name, nullable=False),
    Column("rollout", Name),
    Column("history", JSON, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

releases = Table(
    "releases",
    metadata,
    Column("id", Name, primary_key=True),
    Column("channel", Name, nullable=False, index=True),
    Column("state", Name, nullable=False),
    Column("pool", Name, nullable=False),
    Column("base", Name, nullable=False),
    Column("adapter", Name, index=True),
    Column("run", Name, index=True),
    Column("parent", Name),
    Column("report", Name),
    Column("reason", Text),
    Column("created_ms", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", Name, primary_key=True),
    Column("channel", Name, nullable=False, index=True),
    Column("release", Name, nullable=False, index=True),
    Column("state", Name, nullable=False, index=True),
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
    Column("id", Name, primary_key=True),
    Column("channel", Name, nullable=False, index=True),
    Column("state", Name, nullable=False, index=True),
    Column("positions", JSON, nullable=False),
    Column("dataset", Name),
    Column("release", Name),
    Column("report", Name),
    Column("reasons", JSON, nullable=False),
    Column("progress", JSON, nullable=False),
    Column("requested_by", Name, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
)

engines = Table(
    "engines",
    metadata,
    Column("id", Name, primary_key=True),
    Column("pool", Name, nullable=False),
    Column("kind", Name, nullable=False),
    Column("address", Name, nullable=False),
    Column("base_name", Name, nullable=False),
    Column("incarnation", Name, nullable=False),
    Column("state", Name, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("id", Name, primary_key=True),
    Column("name", Name, nullable=False, unique=True),  # engine:<id>, or leader:controller
    Column("holder", Name, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
)

workers = Table(
    "workers",
    metadata,
    Column("id", Name, primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("heartbeat_ms", BigInteger, nullable=False),
)

inferences = Table(
    "inferences",
    metadata,
    Column("id", Name, primary_key=True),
    Column("tenant", Name, nullable=False),
    Column("channel", Name, nullable=False),
    Column("unit", Name, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("assigned", Name, nullable=False),
    Column("role", Name, nullable=False),
    Column("served_by", Name, nullable=False),
    Column("rollout", Name),
    Column("status", Name, nullable=False),
    Column("streamed", Boolean, nullable=False),
    Column("messages", JSON(none_as_null=True)),  # null where no text was logged
    Column("answer", Text),
    Column("finish_reason", Name),
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("ttft_ms", Float),
    Column("e2e_ms", Float),
    Column("flags", JSON, nullable=False),
    Column("error", Text),
    Column("trainable", Boolean, nullable=False),
    Column("day", Integer, primary_key=True, autoincrement=False),  # of its id, in days since 1970, UTC
    Index("inferences_by_channel", "channel", "at_ms"),
    Index("inferences_by_rollout", "rollout", "at_ms"),
    postgresql_partition_by="RANGE (day)",
)

archives = Table(  # days of inferences that were written as Parquet into the artifact store
    "archives",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("artifact", Name, primary_key=True),
    Column("rows", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

segments = Table(  # parts of the log's partitions that were written as Parquet into the artifact store
    "segments",
    metadata,
    Column("topic", Name, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("after", BigInteger, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
    Column("artifact", Name),
    Column("at_ms", BigInteger, nullable=False),
)

feedback = Table(
    "feedback",
    metadata,
    Column("id", Name, primary_key=True),
    Column("inference", Name, nullable=False, index=True),
    Column("tenant", Name, nullable=False),
    Column("channel", Name, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),  # its offset in the log: ties in time are broken by order of receipt
    Column("author", Name),  # the unit of its inference, unless a key with that right named one; None until joined
    Column("role", Name, nullable=False),
    Column("thumb", Name),
    Column("score", Float),
    Column("comment", Text),
    Column("correction", Text),
    Column("tags", JSON, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("state", Name, nullable=False),
    Column("reason", Name),
    Column("dataset", Name),
    Index("feedback_by_channel", "channel", "state"),
)

curations = Table(  # reviews, proposals, exclusions, erasures, what models computed: the events of that topic
    "curations",
    metadata,
    Column("id", Name, primary_key=True),
    Column("type", Name, nullable=False),  # review.v1, ...
    Column("channel", Name),
    Column("feedback", Name, index=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),  # its offset in the log
    Column("event", JSON, nullable=False),
    Index("curations_by_channel", "channel", "type"),
)

tombstones = Table(  # artifacts that an erasure has replaced, by sum
    "tombstones",
    metadata,
    Column("sum", Name, primary_key=True),
    Column("now", Name, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

datasets = Table(
    "datasets",
    metadata,
    Column("id", Name, primary_key=True),
    Column("channel", Name, nullable=False, index=True),
    Column("run", Name, nullable=False),
    Column("card", JSON, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

examples = Table(
    "examples",
    metadata,
    Column("dataset", Name, primary_key=True),
    Column("id", Name, primary_key=True),
    Column("feedback", Name, nullable=False, index=True),
    Column("inference", Name, nullable=False, index=True),
    Column("author", Name, nullable=False),
    Column("split", Name, nullable=False),
    Column("kind", Name, nullable=False, server_default="sft"),  # or kto, of a bare thumb; augmented
)

splits = Table(
    "splits",
    metadata,
    Column("channel", Name, primary_key=True),
    Column("group", Name, primary_key=True),
    Column("split", Name, nullable=False),
    Column("dataset", Name, nullable=False),
)

offsets = Table(
    "offsets",
    metadata,
    Column("topic", Name, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("position", BigInteger, nullable=False),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("topic", Name, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("key", Name, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("channel", Name),  # where it can be known: then a feedback counts in its ledger
    Column("event", Name, index=True),  # the event's id, where it can be read
    Column("given_up", Boolean, nullable=False, server_default=false()),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Name, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("who", Name, nullable=False),
    Column("action", Name, nullable=False),
    Column("subject", Name, nullable=False, index=True),
    Column("before", JSON),
    Column("after", JSON),
)
