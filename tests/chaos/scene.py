"""The whole service over a real Kafka and a real PostgreSQL, under load, with hands that hurt each of its parts.

Nothing in the product knows of this: a named point is reached by holding what the process must wait for there (rows in
PostgreSQL, a frozen broker), and is seen from outside (a backend that waits, a file that grows) before the blow comes.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import psutil
import psycopg
from psycopg.sql import SQL

from tests.chaos.load import CHANNEL, Load
from tests.integration.kafka_broker import Broker
from tests.integration.postgres.server import Server
from tests.integration.service import ROOT, Service, running
from thumbwheel.eventlog import EventLog
from thumbwheel.eventlog.opening import open_log
from thumbwheel.events import TOPICS
from thumbwheel.home import Home
from thumbwheel.settings import Settings
from thumbwheel.store import data_rows
from thumbwheel.store.connection import Store, open_store

INSTANCE = "consumer-1"  # a name of its own in the group: who is back soon gets its partitions back at once
WORKERS = 2
PATIENCE_S = 90.0
HOUR_S = 3_600


@dataclass
class Scene:
    """The service, what it stands on, and who uses it. `done` are the blows, each with what was seen of its point."""

    service: Service
    broker: Broker
    postgres: Server
    load: Load
    settings: Settings
    store: Store
    log: EventLog
    dice: random.Random
    done: list[dict[str, Any]] = field(default_factory=list)
    killed: dict[str, list[float]] = field(default_factory=dict)  # verb -> when, by the monotonic clock

    # what is there

    def until(self, true: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
        """Poll it often: a point lasts a moment."""
        deadline_s = time.monotonic() + timeout_s
        while not (value := true()):
            assert time.monotonic() < deadline_s, f"waited for {what}\n{self.service.tails()}"
            time.sleep(0.005)
        return value

    def living(self, verb: str) -> list[psutil.Process]:
        """The service's processes of this verb."""
        found = []
        for process in psutil.Process(self.service.process.pid).children(recursive=True):
            with suppress(psutil.Error):
                words = process.cmdline()
                if words[1:4] == ["-m", "thumbwheel", verb]:
                    found.append(process)
        return found

    def spools(self) -> dict[Path, bytes]:
        """What lies in each spool that holds something."""
        found = {}
        for file in (self.service.home / "spool").glob("*.jsonl"):
            with suppress(FileNotFoundError):  # drained meanwhile
                found[file] = file.read_bytes()
        return {file: lines for file, lines in found.items() if lines}

    def epochs(self) -> dict[tuple[str, int], int]:
        with self.store.read() as tx:
            return data_rows.epochs(tx)

    def read(self) -> int:
        """How many records the store has read."""
        with self.store.read() as tx:
            return sum(at for parts in data_rows.positions(tx).values() for at in parts.values())

    def caught_up(self) -> bool:
        with self.store.read() as tx:
            return data_rows.caught_up(tx, self.log.ends())

    def goes_on(self) -> None:
        """Wait until all of it answers, and somebody has been heard and read since."""
        self.service.wait_ready(PATIENCE_S)
        heard = self.load.journal.acknowledged
        self.until(lambda: self.load.journal.acknowledged > heard, "somebody to be heard")
        read = self.read()
        self.until(lambda: self.read() > read, "the consumer to read on")

    # what is done to it

    def kill(self, verb: str) -> None:
        """`kill -9` of one process."""
        victim = self.dice.choice(self.until(lambda: self.living(verb), f"a process {verb}"))
        self.killed.setdefault(verb, []).append(time.monotonic())
        victim.kill()
        with suppress(psutil.NoSuchProcess):
            victim.wait(10)

    def kill_broker(self) -> None:
        """And start it again."""
        self.broker.kill()
        self.broker.start()

    def kill_postgres(self) -> None:
        """All of its processes, and start it again."""
        self.postgres.kill()
        self.postgres.start()

    @contextmanager
    def frozen_broker(self) -> Iterator[None]:
        """It takes what is sent and says nothing."""
        self.broker.freeze()
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                self.broker.thaw()

    @contextmanager
    def held(self, statement: str) -> Iterator[None]:
        """What `statement` locks in PostgreSQL, from a session of its own that a killed server takes along."""
        session = psycopg.connect(self.settings.store_url or "")
        with closing(session):
            session.execute(statement.encode())
            yield
            with suppress(psycopg.OperationalError):
                session.rollback()

    def waits_at(self, statement: str) -> bool:
        """Whether a backend waits for a lock in a statement that begins so."""
        return self._backends("wait_event_type = 'Lock' and query ilike %s", f"{statement}%") > 0

    def idles_in_transaction(self) -> bool:
        """Whether a backend waits for its client, who has begun a transaction and not ended it."""
        return self._backends("xact_start is not null and wait_event = %s", "ClientRead") > 0

    def _backends(self, which: LiteralString, value: str) -> int:
        query = SQL("select count(*) from pg_stat_activity where datname = current_database() and {}")
        with psycopg.connect(self.settings.store_url or "") as session:
            (count,) = session.execute(query.format(SQL(which)), (value,)).fetchone() or (0,)
        return int(count)

    @contextmanager
    def heir(self, ahead_s: int = HOUR_S) -> Iterator[subprocess.Popen[bytes]]:
        """Another consumer under the first one's name, on a machine whose clock is wrong."""
        module = ("-m", "tests.chaos.other_clock", str(ahead_s))
        command = (sys.executable, *module, "consumer", "--home", str(self.service.home))
        with open(self.service.home / "logs" / "heir.log", "ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=self.service.environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@contextmanager
def opened(folder: Path, broker: Broker, postgres: Server, seed: int) -> Iterator[Scene]:
    """The service in `folder`, on topics and a database of its own, with a channel and nobody there yet."""
    url, kafka = postgres.empty(), broker.settings("chaos")
    settings = Settings(home=folder / "home", store_url=url, **kafka)
    others = {"kafka_instance": INSTANCE, "gateway_workers": WORKERS, "restart_pause_s": 0.05, "job_attempts": 10}
    with running(folder, store_url=url, **kafka, **others) as service:
        service.channel(CHANNEL, auto_rollout=False)
        home = Home(service.home)
        store, log = open_store(settings, home), open_log(settings, home)
        try:
            yield Scene(
                service, broker, postgres, Load(service, seed), settings, store, log, random.Random(f"blows {seed}")
            )
        finally:
            log.close()
            store.close()


def records(scene: Scene, topic: str) -> list[bytes]:
    """All that lies in a topic."""
    assert topic in TOPICS
    found = []
    for partition, end in scene.log.ends()[topic].items():
        at = 0
        while at < end:
            page = scene.log.read(topic, partition, at, 500)
            found += [record.value for record in page]
            at = page[-1].offset
    return found


def twice(ids: Collection[str]) -> int:
    """How many of them are there again."""
    return len(ids) - len(set(ids))
