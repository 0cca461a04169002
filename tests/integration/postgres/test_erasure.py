"""Erasing where the rows are in PostgreSQL. On SQLite, in every detail, in tests/unit/thumbwheel/erasing.

What is left in a server's files is looked for byte by byte in a cluster of its own, after a checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import select

from tests.integration.postgres.server import Server, demanded, open_at, running
from tests.unit.thumbwheel.erasing.test_job import HER, HERS, HIM, HIS, Place, everywhere
from thumbwheel.cli import main
from thumbwheel.erasing.job import Forgotten
from thumbwheel.erasing.verb import learnt
from thumbwheel.erasure import person_of
from thumbwheel.store import data_rows, schema
from thumbwheel.store.connection import Store


@pytest.fixture
def place(tmp_path: Path, stores: Callable[..., Store]) -> Iterator[Place]:
    made = Place(tmp_path / "home", stores())
    with closing(made.log):
        yield made


def rows_with(store: Store, needle: str) -> list[str]:
    """The tables that hold it, in whatever column."""
    with store.read() as tx:
        found = {name: repr(tx.execute(select(table)).all()) for name, table in schema.metadata.tables.items()}
    return sorted(name for name, rows in found.items() if needle in rows)


def test_nothing_is_left_in_any_row_or_file_and_the_ledger_adds_up(place: Place) -> None:
    everywhere(place)
    tables = ["audit", "curations", "dead_letters", "examples", "feedback", "inferences"]
    assert sorted({*rows_with(place.store, HERS), *rows_with(place.store, HER)}) == tables
    with place.store.read() as tx:
        before = data_rows.ledger(tx, "support")
    place.erase()
    assert rows_with(place.store, HERS) == rows_with(place.store, HER) == [] == place.files_with(HERS, HER)
    assert rows_with(place.store, HIS) == ["feedback", "inferences"]
    assert rows_with(place.store, HIM) == ["examples", "feedback", "inferences"]
    with place.store.read() as tx:
        after = data_rows.ledger(tx, "support")
        assert learnt(tx, person_of(place.secret, "shop", HER))["runs"] == ["run-1"]
    assert after["acknowledged"] == before["acknowledged"] and after["refused"] == {"erased": 3}
    assert place.erase() == Forgotten()


def test_what_comes_late_is_not_brought_back(place: Place) -> None:
    everywhere(place)
    place.erase()
    late = place.answer(HER, HERS, 9)
    place.write(place.feedback(late, "fb-early", HERS))
    place.read()
    place.write(late, place.feedback(late, "fb-after", HERS), place.feedback(place.his, "fb-author", HERS, author=HER))
    place.read()
    assert {place.states()[one] for one in ("fb-early", "fb-after", "fb-author")} == {("refused", "erased")}
    assert rows_with(place.store, HERS) == rows_with(place.store, HER) == []


@pytest.fixture
def cluster() -> Iterator[Server]:
    """One that holds nothing but what a test puts there."""
    with running(demanded()) as server:
        yield server


def as_administrator(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def files_with(cluster: Server, *needles: str) -> list[str]:
    """The files of the cluster's tables and catalogs, without its write-ahead log, that hold any of them."""
    base = cluster.folder / "data" / "base"
    files = [file for file in base.rglob("*") if file.is_file()]
    assert len(files) > 100
    return [str(file) for file in files if any(needle.encode() in file.read_bytes() for needle in needles)]


def shown(url: str, *needles: str) -> list[str]:
    """The columns of which the planner's statistics show any of them."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "select tablename, attname, most_common_vals::text, histogram_bounds::text from pg_stats"
        )
        return [f"{row[0]}.{row[1]}" for row in rows if any(needle in f"{row[2:]}" for needle in needles)]


@pytest.mark.parametrize("rewrite", [False, True])
def test_no_statistic_and_of_rewritten_tables_no_file_holds_it(
    cluster: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], rewrite: bool
) -> None:
    url = cluster.empty()
    place = Place(tmp_path / "home", open_at(url))
    (place.home.root / "settings.yaml").write_text(f"store_url: {url}\n")
    everywhere(place)
    as_administrator(url, "analyze", "checkpoint")
    assert files_with(cluster, HERS) and files_with(cluster, HER) and shown(url, HERS) and shown(url, HER)
    words = ["erase", "--end-user", HER, "--tenant", "shop", "--yes", "--json", "--home", str(place.home.root)]
    assert main([*words, *["--rewrite-tables"] * rewrite]) == 0
    told = json.loads(capsys.readouterr().out)["database"]
    as_administrator(url, "checkpoint")
    assert shown(url, HERS, HER) == []
    if rewrite:
        assert files_with(cluster, HERS, HER) == []
        assert "written anew" in told["tables"] and "within 5 minutes" in told["tables"]
    else:
        assert "--rewrite-tables" in told["tables"]
    assert "1,024 MB" in told["write-ahead log"]
    place.store.close()
    place.log.close()
