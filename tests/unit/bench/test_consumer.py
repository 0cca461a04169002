"""Both loops of the consumer's benchmark write the same rows; how fast is not asked here."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select

from bench.consumer import compare, opened
from thumbwheel.store import schema

ROWS = 1_200


def test_both_loops_write_the_same_rows(tmp_path: Path) -> None:
    with opened("sqlite", tmp_path) as two:
        found = compare("sqlite", two, tmp_path, ROWS)
        assert all(found[topic]["ratio"] > 0 for topic in ("inference", "feedback"))
        for table in (schema.inferences, schema.feedback):
            written = []
            for store in two:
                with store.read() as tx:
                    written.append(tx.execute(select(table).order_by(table.c.id)).all())
            assert len(written[0]) == ROWS and written[0] == written[1]
