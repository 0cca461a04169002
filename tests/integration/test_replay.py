"""A dataset made once more from a real Kafka of several partitions, whose oldest records are in the archive alone."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, TopicPartition
from sqlalchemy import delete

from tests.integration.kafka_broker import Broker
from tests.integration.test_kafka import NUMBERS, PARTITIONS
from tests.unit.feedback.site import NOW_MS, Site, feedback, inference, talk
from thumbwheel.eventlog.opening import open_log
from thumbwheel.eventlog.topics import named
from thumbwheel.events import FEEDBACK, INFERENCE
from thumbwheel.home import prepare
from thumbwheel.ids import DAY_MS
from thumbwheel.settings import Settings
from thumbwheel.store import schema, segments

pytestmark = pytest.mark.kafka


class OnKafka(Site):
    """A data directory whose log is on the broker, under a prefix of its own."""

    def __init__(self, broker: Broker, root: Path) -> None:
        name = f"replay{os.getpid()}-{next(NUMBERS)}"
        self.settings = Settings(
            home=root, kafka=broker.servers, kafka_prefix=f"{name}.", kafka_group=name, kafka_partitions=PARTITIONS
        )
        super().__init__(root, open_log(self.settings, prepare(root)))

    def expire(self, kept: list[segments.Segment]) -> None:
        """What retention does in time: the broker lets go of what is in the archive."""
        upto = {TopicPartition(named(self.settings.kafka_prefix, one.topic), one.partition): one.last for one in kept}
        with closing(KafkaAdminClient(bootstrap_servers=self.settings.kafka)) as admin:
            admin.delete_records(upto)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What a person types."""
        chosen = {key: str(getattr(self.settings, key)) for key in ("kafka", "kafka_prefix", "kafka_group")}
        environment = {**os.environ, **{f"THUMBWHEEL_{key.upper()}": value for key, value in chosen.items()}}
        program = "import sys; from feedback.replay import run; sys.exit(run(sys.argv[1:]))"
        command = [sys.executable, "-c", program, *words, "--home", str(self.home.root)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def place(broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[OnKafka]:
    caplog.set_level(logging.CRITICAL, "kafka")
    made = OnKafka(broker, tmp_path / "home")
    yield made
    made.close()


def test_a_dataset_is_made_again_from_log_and_archive(place: OnKafka, tmp_path: Path) -> None:
    place.say(*talk(range(60)), feedback(60), *map(inference, range(500, 520)))
    place.read()
    first = place.freeze()
    place.promote(first)
    place.say(*talk(range(61, 110)), inference(60), feedback(7, at_ms=NOW_MS))
    place.read()
    place.now_ms += 1
    second = place.freeze()
    assert len({part for part, end in place.log.ends()[FEEDBACK].items() if end}) == PARTITIONS
    for dataset in (first, second):
        told = place.command(dataset[:12], "--to", str(tmp_path / dataset))
        assert (told.returncode, told.stdout) == (0, f"same {dataset}\n"), told.stderr

    ahead = segments.pending(place.store, place.log, DAY_MS, place.now_ms)
    kept = segments.keep(
        place.store, place.log, place.artifacts, place.home.runs / "scratch", ahead, DAY_MS, place.now_ms
    )
    place.say(*talk(range(200, 210)))
    place.read()
    place.expire(kept)
    starts = place.log.starts()
    assert {(topic, part) for topic in (FEEDBACK, INFERENCE) for part, at in starts[topic].items() if at} == {
        (one.topic, one.partition) for one in kept
    }
    for dataset in (first, second):
        told = place.command(dataset, "--json", "--to", str(tmp_path / f"{dataset}-again"))
        assert told.returncode == 0 and json.loads(told.stdout)["same"], told.stdout + told.stderr

    with place.store.write() as tx:
        tx.execute(delete(schema.segments).where(schema.segments.c.topic == FEEDBACK, schema.segments.c.partition == 1))
    told = place.command(first, "--to", str(tmp_path / "gone"))
    assert told.returncode == 2
    assert "No longer there, neither in the log nor in the archive: feedback/1: records 1 to" in told.stdout
